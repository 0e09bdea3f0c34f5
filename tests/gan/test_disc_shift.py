"""Disc shift by hand."""

from __future__ import annotations

import pytest
import torch

from losskit_gan.adversarial.disc_shift import DiscShiftLoss, disc_shift_loss

LOGITS = torch.tensor([[1.0, -3.0], [0.0, 2.0]], dtype=torch.float64)


def test_equals_hand_computed():
    assert DiscShiftLoss()(LOGITS) == 3.5
    assert disc_shift_loss(LOGITS, reduction="sum") == 14
    assert disc_shift_loss(LOGITS, reduction="none").tolist() == [[1, 9], [0, 4]]


def test_scales_average():
    assert DiscShiftLoss()([LOGITS, LOGITS * 0]) == 1.75


def test_gradcheck_and_gradgradcheck():
    assert torch.autograd.gradcheck(DiscShiftLoss(), LOGITS.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(DiscShiftLoss(), LOGITS.clone().requires_grad_())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DiscShiftLoss(reduction="avg"), ValueError, "reduction must be one of"),
        (lambda: DiscShiftLoss()(LOGITS.long()), TypeError, "pred must hold floating-point logits"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
