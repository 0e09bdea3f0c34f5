"""Composition losses against MMagic's arithmetic with loops."""

from __future__ import annotations

import pytest
import torch

import losskit

pytestmark = pytest.mark.usefixtures("core_only")

ELEMENT = {
    "L1CompositionLoss": abs,
    "MSECompositionLoss": lambda d: d**2,
    "CharbonnierCompLoss": lambda d: (d**2 + 1e-12) ** 0.5,
}
SHAPE = (2, 3, 3, 4)


def inputs(channels: int = 1):
    fg, bg, merged = torch.rand(3, *SHAPE, dtype=torch.float64).unbind()
    alpha = torch.rand(2, channels, 3, 4, dtype=torch.float64, requires_grad=True)
    return alpha, fg, bg, merged


def mmagic(element, alpha, fg, bg, merged, weight, sample_wise):
    n, c, h, w = SHAPE
    sums, weights = [0] * n, [0] * n
    for i in range(n):
        for j in range(c):
            for y in range(h):
                for x in range(w):
                    a = alpha[i, j if alpha.shape[1] == c else 0, y, x]
                    m = 1 if weight is None else weight[i, j if weight.shape[1] == c else 0, y, x]
                    d = a * fg[i, j, y, x] + (1 - a) * bg[i, j, y, x] - merged[i, j, y, x]
                    sums[i] = sums[i] + m * element(d)
                    weights[i] = weights[i] + m
    if sample_wise and weight is not None:
        return sum(s / (m + 1e-12) for s, m in zip(sums, weights, strict=True)) / n
    return sum(sums) / (sum(weights) + (0 if weight is None else 1e-12))


@pytest.mark.parametrize("name", ELEMENT)
@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("sample_wise", [False, True])
def test_values_and_gradients_are_mmagics(name, channels, sample_wise) -> None:
    alpha, fg, bg, merged = inputs()
    weight = None
    if channels:
        weight = torch.rand(2, channels, 3, 4, dtype=torch.float64)
        weight[0, :, :2] = 0
    loss = losskit.create(name, sample_wise=sample_wise)
    ours = loss(alpha, fg, bg, merged, weight)
    theirs = mmagic(ELEMENT[name], alpha, fg, bg, merged, weight, sample_wise)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    (gradient,) = torch.autograd.grad(ours, alpha)
    (expected,) = torch.autograd.grad(theirs, alpha)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ELEMENT)
def test_the_true_matte_composes_the_true_image(name) -> None:
    alpha, fg, bg, _ = inputs()
    loss = losskit.create(name, reduction="none")
    value = loss(alpha, fg, bg, alpha.detach() * fg + (1 - alpha.detach()) * bg)
    assert value.shape == SHAPE
    assert value.max().item() <= 1e-6
    value.sum().backward()
    assert bool(torch.isfinite(alpha.grad).all())


@pytest.mark.parametrize("name", ELEMENT)
def test_gradcheck(name) -> None:
    alpha, fg, bg, merged = inputs(3)
    assert torch.autograd.gradcheck(losskit.create(name), (alpha, fg, bg, merged))


def test_compiles_without_a_break() -> None:
    loss = losskit.create("CharbonnierCompLoss")
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs()).shape, torch.Size([]))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 1, 3, 4), (2, 3, 3, 4), (2, 3, 3, 5)), "fg and bg must have one shape"),
        (
            ((2, 1, 4, 3), (2, 3, 3, 4), (2, 3, 3, 4)),
            r"pred_alpha of shape \(2, 1, 4, 3\) does not",
        ),
        (((1, 1, 3, 4), (2, 3, 3, 4), (2, 3, 3, 4)), "does not fit fg"),
        (((2, 2, 3, 4), (2, 3, 3, 4), (2, 3, 3, 4)), "does not fit fg"),
        (((2, 3, 4), (2, 3, 3, 4), (2, 3, 3, 4)), "does not fit fg"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message) -> None:
    alpha, fg, bg = (torch.rand(shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        losskit.create("L1CompositionLoss")(alpha, fg, bg, torch.rand_like(fg))


def test_the_true_image_must_fit() -> None:
    alpha, fg, bg, merged = inputs()
    with pytest.raises(ValueError, match="must have one shape"):
        losskit.create("L1CompositionLoss")(alpha, fg, bg, merged[:, :1])


@pytest.mark.parametrize("which", range(3))
def test_integers(which) -> None:
    tensors = list(inputs()[:3])
    tensors[which] = torch.ones(tensors[which].shape, dtype=torch.int64)
    with pytest.raises(TypeError, match="must be a floating-point tensor"):
        losskit.create("L1CompositionLoss")(*tensors, torch.rand(SHAPE))


def test_charbonnier_needs_a_positive_eps() -> None:
    with pytest.raises(losskit.errors.ConfigError, match="eps must be positive, not 0"):
        losskit.create("CharbonnierCompLoss", eps=0)
