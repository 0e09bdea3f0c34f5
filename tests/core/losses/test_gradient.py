"""GradientLoss against MMagic's arithmetic with loops, and scipy's Sobel."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from losskit.losses.gradient import GradientLoss, gradient_loss

KX = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
KY = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))


def filtered(image, kernel):
    """Correlation with zero padding, one pixel at a time."""
    n, c, h, w = image.shape
    rows = []
    for i in range(n):
        for j in range(c):
            for y in range(h):
                for x in range(w):
                    value = image.new_zeros(())
                    for a in range(3):
                        for b in range(3):
                            v, u = y + a - 1, x + b - 1
                            if 0 <= v < h and 0 <= u < w:
                                value = value + kernel[a][b] * image[i, j, v, u]
                    rows.append(value)
    return torch.stack(rows).view(image.shape)


def mmagic(pred, target, weight, reduction):
    total = 0
    for kernel in (KX, KY):
        loss = (filtered(pred, kernel) - filtered(target, kernel)).abs()
        if weight is not None:
            loss = loss * weight
        if reduction == "mean":
            count = loss.numel() if weight is None else weight.expand_as(loss).sum() + 1e-12
            loss = loss.sum() / count
        total = total + (loss.sum() if reduction == "sum" else loss)
    return total


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_mmagics(reduction, channels, masked) -> None:
    pred = torch.rand(2, channels, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, channels, 4, 5, dtype=torch.float64)
    weight = torch.rand(2, 1, 4, 5, dtype=torch.float64) if masked else None
    ours = GradientLoss(reduction=reduction)(pred, target, weight)
    theirs = mmagic(pred, target, weight, reduction)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    seed = torch.rand_like(ours)
    (gradient,) = torch.autograd.grad(ours, pred, seed)
    (expected,) = torch.autograd.grad(theirs, pred, seed)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


def test_edges_are_scipys_but_for_sign() -> None:
    image = np.random.default_rng(0).random((6, 7))
    pred = torch.from_numpy(image).view(1, 1, 6, 7)
    ours = gradient_loss(pred, torch.zeros_like(pred), reduction="none")
    scipys = sum(np.abs(scipy.ndimage.sobel(image, axis, mode="constant")) for axis in (0, 1))
    np.testing.assert_allclose(ours[0, 0].numpy(), scipys, atol=1e-12)


def test_a_constant_shift_shows_only_at_the_border() -> None:
    pred = torch.full((1, 1, 6, 6), 0.5)
    value = gradient_loss(pred, torch.zeros_like(pred), reduction="none")
    assert not value[..., 1:-1, 1:-1].any()
    assert value[0, 0, 0, 3] == 2.0  # (1 + 2 + 1) · 0.5


def test_gradcheck() -> None:
    pred = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gradient_loss, (pred, torch.rand_like(pred)))


def test_needs_four_axes() -> None:
    with pytest.raises(ValueError, match=r"pred must be \(b, c, h, w\), not \(3, 4, 4\)"):
        gradient_loss(torch.rand(3, 4, 4), torch.rand(3, 4, 4))


def test_half_precision_on_cpu_autocast() -> None:
    pred, target = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8)
    plain = gradient_loss(pred, target)
    with torch.autocast("cpu", torch.bfloat16):
        low = gradient_loss(pred, target)
    assert low.item() == pytest.approx(plain.item(), rel=2e-2)
