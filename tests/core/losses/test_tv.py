"""MaskedTVLoss against MMagic's arithmetic with loops, and kornia."""

from __future__ import annotations

import kornia
import pytest
import torch

from losskit.losses.tv import MaskedTVLoss, masked_tv_loss


def mmagic(pred, mask):
    n, c, h, w = pred.shape
    total = 0
    for dy, dx in ((1, 0), (0, 1)):
        value, weight = 0, 1e-12
        for i in range(n):
            for j in range(c):
                for y in range(h - dy):
                    for x in range(w - dx):
                        m = mask[i, j if mask.shape[1] == c else 0, y, x]
                        value = value + m * (pred[i, j, y, x] - pred[i, j, y + dy, x + dx]).abs()
                        weight = weight + m
        total = total + value / weight
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_values_and_gradients_are_mmagics(channels) -> None:
    pred = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, channels, 4, 5, dtype=torch.float64)
    mask[0, :, :2] = 0
    ours, theirs = MaskedTVLoss()(pred, mask), mmagic(pred, mask)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    (gradient,) = torch.autograd.grad(ours, pred)
    (expected,) = torch.autograd.grad(theirs, pred)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


def test_without_a_mask_is_kornias_mean() -> None:
    pred = torch.rand(2, 3, 6, 7)
    kornias = kornia.losses.total_variation(pred, reduction="mean").mean()
    torch.testing.assert_close(masked_tv_loss(pred), kornias)
    torch.testing.assert_close(masked_tv_loss(pred, torch.ones(2, 1, 6, 7)), kornias)


def test_a_flat_image_has_none() -> None:
    pred = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    value = masked_tv_loss(pred)
    value.backward()
    assert value.item() == 0
    assert not pred.grad.any()


def test_a_pair_takes_the_mask_of_its_first_pixel() -> None:
    pred = torch.zeros(1, 1, 2, 2)
    pred[0, 0, 0, 0] = 1.0  # one step right, one step down, both from the upper left
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert masked_tv_loss(pred, mask).item() == 2.0
    assert masked_tv_loss(pred, 1 - mask).item() == 0.0


def test_gradcheck() -> None:
    pred = torch.rand(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(masked_tv_loss, (pred, torch.rand(1, 1, 3, 3).double()))


@pytest.mark.parametrize(
    ("pred", "mask", "error", "message"),
    [
        (torch.ones(1, 1, 4, 4, dtype=torch.int64), None, TypeError, "pred must be a floating-poi"),
        (torch.rand(3, 4, 4), None, ValueError, r"not \(3, 4, 4\): for one image \(c, h, w\) add"),
        (torch.rand(1, 3, 1, 4), None, ValueError, r"of at least 2×2, not \(1, 3, 1, 4\)"),
        (torch.rand(1, 3, 4, 4), torch.ones(4, 4), ValueError, r"mask of shape \(4, 4\) does not"),
        (torch.rand(1, 3, 4, 4), torch.ones(1, 2, 4, 4), ValueError, "does not fit"),
        (torch.rand(2, 3, 4, 4), torch.ones(1, 1, 4, 4), ValueError, "does not fit"),
    ],
)
def test_errors(pred, mask, error, message) -> None:
    with pytest.raises(error, match=message):
        masked_tv_loss(pred, mask)
