"""Spectral losses against the authors' package and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from focal_frequency_loss import FocalFrequencyLoss as TheirLoss

from losskit.errors import RangeWarning
from losskit_perceptual.frequency import (
    FFTLoss,
    FocalFrequencyLoss,
    fft_loss,
    focal_frequency_loss,
)
from losskit_perceptual.ldl import LDLLoss
from losskit_perceptual.pyramid import LaplacianPyramidLoss


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 2.0},
        {"patch_factor": 2},
        {"ave_spectrum": True},
        {"log_matrix": True},
        {"batch_matrix": True},
        {"alpha": 0.5, "patch_factor": 4, "log_matrix": True, "batch_matrix": True},
    ],
)
def test_equals_the_authors_package(options: dict[str, object]) -> None:
    pred, target = torch.rand(2, 2, 3, 16, 24)
    ours, theirs = (pred.clone().requires_grad_() for _ in range(2))
    value = FocalFrequencyLoss(**options)(ours, target)
    expected = TheirLoss(**options)(theirs, target)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-8)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("norm", ["backward", "ortho"])
def test_fft_loss_equals_numpy(norm: str) -> None:
    pred, target = torch.rand(2, 2, 3, 9, 14, dtype=torch.float64)
    difference = np.fft.fft2(pred.numpy(), norm=norm) - np.fft.fft2(target.numpy(), norm=norm)
    expected = np.stack([difference.real, difference.imag]).__abs__().mean()
    assert float(fft_loss(pred, target, norm=norm)) == pytest.approx(expected, rel=1e-12)


def test_a_constant_shift_is_one_coefficient() -> None:
    target = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    # Only the zeroth coefficient differs, by 64 * 0.5, among 64 real and 64 imaginary parts.
    assert float(fft_loss(target + 0.5, target)) == pytest.approx(64 * 0.5 / 128)


@pytest.mark.parametrize("loss", [FFTLoss(), FocalFrequencyLoss(alpha=0.5)])
def test_half_precision_and_equal_images(loss: torch.nn.Module) -> None:
    target = torch.rand(2, 3, 16, 16, dtype=torch.float16)
    pred = target.clone().requires_grad_()
    value = loss(pred, target)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("function", [fft_loss, focal_frequency_loss])
def test_gradcheck_and_per_sample_values(function: object) -> None:
    pred, target = torch.rand(2, 2, 1, 4, 6, dtype=torch.float64)
    each = function(pred, target, reduction="none")  # type: ignore[operator]
    assert each.shape == (2,)
    torch.testing.assert_close(each.mean(), function(pred, target))  # type: ignore[operator]
    assert torch.autograd.gradcheck(lambda x: fft_loss(x, target), pred.requires_grad_())


def test_no_gradient_reaches_the_target() -> None:
    pred, target = torch.rand(2, 1, 1, 8, 8).unbind()
    target = target.requires_grad_()
    (FFTLoss()(pred.requires_grad_(), target) + FocalFrequencyLoss()(pred, target)).backward()
    assert target.grad is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: focal_frequency_loss(x, x, patch_factor=3), "patch_factor=3 must divide"),
        (lambda x: fft_loss(x, x, norm="orto"), "not 'orto'"),
        (lambda x: fft_loss(x[0], x[0]), "must be .b, c, h, w."),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 16, 16))  # type: ignore[operator]


@pytest.mark.parametrize(
    "loss", [FFTLoss(), FocalFrequencyLoss(), LaplacianPyramidLoss(levels=2), LDLLoss()]
)
def test_a_range_far_off_warns_once(loss: torch.nn.Module) -> None:
    pred, target = torch.rand(2, 1, 3, 16, 16).unbind()
    pred = pred * 255
    with pytest.warns(RangeWarning, match="pred holds values .*data_range"):
        loss(pred, target)
    loss(pred, target)
