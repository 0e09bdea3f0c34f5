"""PSNRLoss against its formula with loops, torchmetrics and scikit-image."""

from __future__ import annotations

import math

import pytest
import skimage.color
import skimage.metrics
import torch
import torchmetrics.functional.image as tm

from losskit.losses.psnr import PSNRLoss, psnr_loss


def images() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.rand(3, 3, 6, 5, dtype=torch.float64)
    return (target + 0.1 * torch.randn_like(target)).requires_grad_(), target


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values_and_gradients_are_mmagics(reduction) -> None:
    pred, target = images()
    ours = PSNRLoss(reduction=reduction)(pred, target)
    per_sample = []
    for p, t in zip(pred, target, strict=True):
        mse = sum((a - b) ** 2 for a, b in zip(p.flatten(), t.flatten(), strict=True)) / p.numel()
        per_sample.append(10 / math.log(10) * torch.log(mse + 1e-8))
    theirs = torch.stack(per_sample)
    theirs = {"mean": theirs.mean(), "sum": theirs.sum(), "none": theirs}[reduction]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)
    (gradient,) = torch.autograd.grad(ours.sum(), pred)
    (expected,) = torch.autograd.grad(theirs.sum(), pred)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-7)


def test_is_minus_the_psnr_of_others() -> None:
    pred, target = images()
    values = psnr_loss(pred.detach(), target, reduction="none")
    for value, p, t in zip(values, pred.detach(), target, strict=True):
        skimages = skimage.metrics.peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=1)
        assert value.item() == pytest.approx(-skimages, abs=1e-4)
    metrics = tm.peak_signal_noise_ratio(
        pred.detach(), target, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"
    )
    assert values.mean().item() == pytest.approx(-metrics.item(), abs=1e-4)


def test_luma_is_scikit_images() -> None:
    pred, target = images()
    value = PSNRLoss(toY=True, reduction="none")(pred.detach(), target)[0].item()
    y = [
        torch.from_numpy(skimage.color.rgb2ycbcr(i.detach().movedim(0, -1).numpy())[..., 0]) / 255
        for i in (pred[0], target[0])
    ]
    assert value == pytest.approx(10 * math.log10(((y[0] - y[1]) ** 2).mean() + 1e-8), abs=1e-5)


def test_a_perfect_prediction_is_minus_80_with_zero_gradient() -> None:
    pred = torch.rand(2, 3, 4, 4, requires_grad=True)
    value = PSNRLoss()(pred, pred.detach())
    value.backward()
    assert value.item() == pytest.approx(-80, abs=1e-4)
    assert not pred.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_fp32(dtype) -> None:
    pred = torch.rand(2, 3, 4, 4).to(dtype)
    assert psnr_loss(pred, pred).item() == pytest.approx(-80, abs=1e-4)


def test_gradcheck() -> None:
    pred, target = images()
    assert torch.autograd.gradcheck(psnr_loss, (pred, target))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4,), {}, r"pred must have a batch axis and pixels, not shape \(4,\)"),
        ((2, 1, 4, 4), {"to_y": True}, r"to_y needs RGB images \(b, 3, h, w\), not \(2, 1, 4, 4\)"),
    ],
)
def test_errors(shape, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        psnr_loss(torch.rand(shape), torch.rand(shape), **options)
