"""Pixel losses against MMagic's arithmetic, written out here element by element, and torch, kornia."""

from __future__ import annotations

import copy
import math
import pickle

import kornia
import pytest
import torch
from torch import Tensor

import losskit
from losskit.losses.pixel import (
    CharbonnierLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    charbonnier_loss,
    huber_loss,
    l1_loss,
    mse_loss,
)

pytestmark = pytest.mark.usefixtures("core_only")

SHAPE = (2, 3, 4, 5)
EPS = 1e-12
PIXEL = {
    "L1Loss": lambda p, t: abs(p - t),
    "MSELoss": lambda p, t: (p - t) ** 2,
    "CharbonnierLoss": lambda p, t: ((p - t) ** 2 + EPS) ** 0.5,
}
FUNCTIONS = {"L1Loss": l1_loss, "MSELoss": mse_loss, "CharbonnierLoss": charbonnier_loss}
MODULES = {"L1Loss": L1Loss, "MSELoss": MSELoss, "CharbonnierLoss": CharbonnierLoss}


def images(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return torch.rand(SHAPE, dtype=dtype, requires_grad=True), torch.rand(SHAPE, dtype=dtype)


def mask(channels: int) -> Tensor:
    """Soft, of very different sizes per sample, so that the ways to normalise differ."""
    weight = torch.rand(SHAPE[0], channels, *SHAPE[2:], dtype=torch.float64)
    weight[0] *= weight[0] > 0.7
    return weight


def mmagic(element, pred, target, weight, reduction, sample_wise):
    """Section 1 of MMagic's table, one scalar at a time."""
    n, c, h, w = SHAPE
    values: dict[tuple[int, ...], Tensor] = {}
    weights: dict[tuple[int, ...], Tensor | float] = {}
    for i in range(n):
        for j in range(c):
            for y in range(h):
                for x in range(w):
                    value = element(pred[i, j, y, x], target[i, j, y, x])
                    if weight is not None:
                        factor = weight[i, j if weight.shape[1] == c else 0, y, x]
                        value = value * factor
                        weights[i, j, y, x] = factor
                    values[i, j, y, x] = value
    if reduction == "none":
        return torch.stack(list(values.values())).view(SHAPE)
    if reduction == "sum":
        return sum(values.values())
    if weight is None:
        return sum(values.values()) / len(values)
    if not sample_wise:
        return sum(values.values()) / (sum(weights.values()) + 1e-12)
    per_sample = [
        sum(v for k, v in values.items() if k[0] == i)
        / (sum(v for k, v in weights.items() if k[0] == i) + 1e-12)
        for i in range(n)
    ]
    return sum(per_sample) / n


@pytest.mark.parametrize("name", PIXEL)
@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize(
    ("reduction", "sample_wise"),
    [("mean", False), ("mean", True), ("sum", False), ("none", False)],
)
def test_values_and_gradients_are_mmagics(name, channels, reduction, sample_wise) -> None:
    pred, target = images()
    weight = None if channels is None else mask(channels)
    loss = MODULES[name](reduction=reduction, sample_wise=sample_wise)
    ours = loss(pred, target, weight=weight)
    theirs = mmagic(PIXEL[name], pred, target, weight, reduction, sample_wise)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    seed = torch.rand_like(ours)
    (gradient,) = torch.autograd.grad(ours, pred, seed)
    (expected,) = torch.autograd.grad(theirs, pred, seed)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", PIXEL)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_number_as_weight_scales(name, reduction) -> None:
    pred, target = images()
    loss = MODULES[name](reduction=reduction)
    torch.testing.assert_close(loss(pred, target, weight=0.3), 0.3 * loss(pred, target))
    torch.testing.assert_close(
        loss(pred, target, weight=torch.tensor(0.3)), 0.3 * loss(pred, target)
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_unweighted_is_torchs(reduction) -> None:
    pred, target = images()
    for loss, torchs in (
        (L1Loss(reduction=reduction), torch.nn.L1Loss(reduction=reduction)),
        (MSELoss(reduction=reduction), torch.nn.MSELoss(reduction=reduction)),
        (
            HuberLoss(reduction=reduction, delta=0.1),
            torch.nn.HuberLoss(reduction=reduction, delta=0.1),
        ),
    ):
        torch.testing.assert_close(loss(pred, target), torchs(pred, target))


def test_huber_by_hand() -> None:
    pred = torch.tensor([0.5, 2.0, -3.0])
    # ½·0.25 below delta; 1·(2 − ½) and 1·(3 − ½) above.
    expected = torch.tensor([0.125, 1.5, 2.5])
    assert torch.equal(huber_loss(pred, torch.zeros(3), reduction="none"), expected)


def test_charbonnier_is_kornias_after_the_shift_of_convention() -> None:
    pred, target = images()
    kornias = kornia.losses.charbonnier_loss(pred, target, reduction="none")  # sqrt(d²+1) − 1
    torch.testing.assert_close(
        charbonnier_loss(pred, target, eps=1.0, reduction="none") - 1, kornias
    )


def test_charbonnier_at_equal_images() -> None:
    pred = torch.rand(SHAPE, requires_grad=True)
    value = CharbonnierLoss(eps=1e-6)(pred, pred.detach())
    assert value.item() == pytest.approx(1e-3)
    value.backward()
    assert torch.equal(pred.grad, torch.zeros(SHAPE))


@pytest.mark.parametrize("name", PIXEL)
def test_an_empty_mask_gives_zero_not_nan(name) -> None:
    pred, target = images()
    value = MODULES[name]()(pred, target, weight=torch.zeros(2, 1, 4, 5, dtype=torch.float64))
    value.backward()
    assert value.item() == 0
    assert not pred.grad.any()


def test_what_is_masked_out_does_not_count() -> None:
    pred, target = images()
    weight = torch.zeros(2, 1, 4, 5, dtype=torch.float64)
    weight[:, :, :2] = 1
    inside = (pred - target)[:, :, :2].abs().mean()
    torch.testing.assert_close(l1_loss(pred, target, weight=weight), inside)
    spoiled = target.clone()
    spoiled[:, :, 2:] = 1e6
    torch.testing.assert_close(l1_loss(pred, spoiled, weight=weight), inside)


def test_a_boolean_mask_is_one_of_zeros_and_ones() -> None:
    pred, target = images()
    weight = torch.rand(2, 1, 4, 5) > 0.5
    torch.testing.assert_close(
        l1_loss(pred, target, weight=weight), l1_loss(pred, target, weight=weight.double())
    )


@pytest.mark.parametrize("sample_wise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masks_of_large_half_precision_images(dtype, sample_wise) -> None:
    # 3·300·300 ones add up to 270000, which fp16 cannot hold.
    pred = torch.full((1, 3, 300, 300), 0.75, dtype=dtype)
    target = torch.full_like(pred, 0.25)
    value = l1_loss(
        pred, target, weight=torch.ones(1, 1, 300, 300, dtype=dtype), sample_wise=sample_wise
    )
    assert value.dtype == dtype
    assert value.item() == 0.5


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype) -> None:
    pred, target = images(torch.float32)
    half = pred.detach().to(dtype).requires_grad_()
    loss = losskit.create(name)
    value = loss(half, target.to(dtype))
    value.backward()
    assert value.item() == pytest.approx(loss(pred, target).item(), rel=2e-2)
    assert bool(torch.isfinite(half.grad).all())
    equal = half.detach().clone().requires_grad_()
    loss(equal, half.detach()).backward()
    assert bool(torch.isfinite(equal.grad).all())


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss"])
def test_gradcheck(name) -> None:
    pred = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    target = pred.detach() + torch.where(torch.rand_like(pred) > 0.5, 0.3, -0.4)
    assert torch.autograd.gradcheck(losskit.create(name), (pred, target))


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss"])
def test_module_equals_function(name) -> None:
    functions = {**FUNCTIONS, "HuberLoss": huber_loss}
    pred, target = images()
    for reduction in ("mean", "sum", "none"):
        module = losskit.create(name, reduction=reduction)
        assert torch.equal(module(pred, target), functions[name](pred, target, reduction=reduction))


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss", "GradientLoss", "PSNRLoss"])
def test_compiles_without_a_break(name) -> None:
    loss = losskit.create(name)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    pred, target = images()
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss", "PSNRLoss", "GradientLoss"])
def test_copies_pickles_and_has_no_state(name) -> None:
    loss = losskit.create(name, reduction="sum")
    pred, target = images()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(pred, target), loss(pred, target))
    assert not loss.state_dict()


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss", "PSNRLoss"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 7, 5), (3, 2, 4), (2, 3, 2, 3, 4)])
def test_odd_shapes_and_non_contiguous(name, shape) -> None:
    pred, target = torch.rand(shape), torch.rand(shape)
    loss = losskit.create(name)
    turned = loss(pred.transpose(1, -1), target.transpose(1, -1))
    torch.testing.assert_close(turned, loss(pred, target))


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss", "GradientLoss", "PSNRLoss"])
def test_unknown_reduction(name) -> None:
    message = r"reduction must be one of mean, sum, none, not 'men'; did you mean 'mean'\?"
    with pytest.raises(ValueError, match=message):
        losskit.create(name, reduction="men")


@pytest.mark.parametrize("name", [*PIXEL, "HuberLoss", "GradientLoss", "PSNRLoss"])
class TestBadInput:
    def test_shapes(self, name) -> None:
        message = r"pred and target must have one shape, not \(2, 3, 4, 5\) and \(2, 1, 4, 5\)"
        with pytest.raises(ValueError, match=message):
            losskit.create(name)(torch.rand(SHAPE), torch.rand(2, 1, 4, 5))

    def test_integers(self, name) -> None:
        pred = torch.ones(SHAPE, dtype=torch.uint8)
        with pytest.raises(TypeError, match=r"pred must be a floating-point tensor.*torch.uint8"):
            losskit.create(name)(pred, pred)

    def test_not_a_tensor(self, name) -> None:
        with pytest.raises(TypeError, match="target must be a tensor, not list"):
            losskit.create(name)(torch.rand(SHAPE), [0.0])


@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (4, 5), (1, 1, 4, 5), (2, 1, 5, 4)])
def test_a_mask_that_does_not_fit(shape) -> None:
    pred, target = images()
    with pytest.raises(ValueError, match=r"weight of shape .* does not fit a loss of shape"):
        L1Loss()(pred, target, weight=torch.ones(shape))


@pytest.mark.parametrize("value", [0, -1e-3])
def test_eps_and_delta_are_positive(value) -> None:
    with pytest.raises(ValueError, match=r"eps must be positive, not .*sqrt has no slope at 0"):
        CharbonnierLoss(eps=value)
    with pytest.raises(ValueError, match="eps must be positive"):
        charbonnier_loss(torch.rand(2), torch.rand(2), eps=value)
    with pytest.raises(ValueError, match="delta must be positive"):
        HuberLoss(delta=value)
    with pytest.raises(ValueError, match="delta must be positive"):
        huber_loss(torch.rand(2), torch.rand(2), delta=value)


def test_repr_shows_the_options() -> None:
    assert repr(L1Loss(sample_wise=True)) == "L1Loss(sample_wise=True)"


def test_alias() -> None:
    assert type(losskit.create("L2Loss")) is MSELoss


def test_l1_of_a_known_difference() -> None:
    assert l1_loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])).item() == 1.5
    assert mse_loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])).item() == 2.5
    assert math.isclose(
        charbonnier_loss(torch.tensor([3.0]), torch.tensor([0.0]), eps=16.0).item(), 5.0
    )
