"""The numbers of ExampleLoss, against closed forms."""

import math

import pytest
import torch

from losskit_example import (
    ExampleLoss,
    example_loss,
)


def test_is_log_cosh() -> None:
    pred, target = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 0.0])
    expected = torch.tensor([math.log(math.cosh(1.0)), math.log(math.cosh(2.0))])
    value = example_loss(pred, target, reduction="none")
    torch.testing.assert_close(value, expected)


def test_is_zero_at_a_perfect_prediction() -> None:
    image = torch.rand(2, 3, 4, 4)
    assert example_loss(image, image).abs() < 1e-6


def test_does_not_overflow() -> None:
    far = example_loss(torch.tensor([1e4]), torch.zeros(1))
    torch.testing.assert_close(far, torch.tensor(1e4 - math.log(2)))


def test_is_nearly_l1_when_sharp() -> None:
    pred, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    sharp = ExampleLoss(sharpness=1e4)(pred, target)
    torch.testing.assert_close(sharp, (pred - target).abs().mean(), atol=1e-3, rtol=0)


def test_refuses_a_sharpness_that_is_not_positive() -> None:
    with pytest.raises(ValueError, match="sharpness must be positive, not 0"):
        ExampleLoss(sharpness=0)
