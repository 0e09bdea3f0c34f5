"""SSIM's map, masks, padding and uniform windows against scikit-image, torchmetrics and kornia."""

from __future__ import annotations

from typing import Any

import kornia
import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from losskit_perceptual import MSSSIMLoss, SSIMLoss, ms_ssim, ssim, ssim_map

UNIFORM: dict[str, Any] = {"window": "uniform", "window_size": 7}
WINDOWS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {"gaussian_weights": True, "sigma": 1.5}, {"gaussian_kernel": True}),
    (UNIFORM, {"win_size": 7}, {"gaussian_kernel": False, "kernel_size": 7}),
]


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(2, 3, 32, 27, dtype=torch.float64, generator=generator)
    noise = 0.2 * torch.randn(target.shape, dtype=torch.float64, generator=generator)
    return (target + noise).clamp(0, 1), target


def scikit_image(pred: Tensor, target: Tensor, **options: Any) -> tuple[list[float], Tensor]:
    """Its mean and its map of each sample."""
    found = [
        structural_similarity(
            *(x.numpy() for x in pair),
            data_range=1.0,
            channel_axis=0,
            use_sample_covariance=False,
            full=True,
            **options,
        )
        for pair in zip(pred, target, strict=True)
    ]
    return [float(mean) for mean, _ in found], torch.stack([torch.tensor(m) for _, m in found])


@pytest.mark.parametrize(("own", "options", "_"), WINDOWS)
def test_map_and_mean_equal_scikit_images(images, own, options, _) -> None:
    means, full = scikit_image(*images, **options)
    edge = own.get("window_size", 11) // 2
    inner = full[..., edge:-edge, edge:-edge]
    torch.testing.assert_close(ssim_map(*images, **own), inner, atol=1e-6, rtol=0)
    assert ssim(*images, reduction="none", **own).tolist() == pytest.approx(means, abs=1e-6)
    same = ssim_map(*images, padding="same", **own)
    assert same.shape == full.shape
    torch.testing.assert_close(same[..., edge:-edge, edge:-edge], inner, atol=1e-6, rtol=0)
    assert (same - full).abs().max() > 1e-2, "scikit-image repeats the pixels of the border"


@pytest.mark.parametrize(("own", "_", "options"), WINDOWS)
def test_same_padding_equals_torchmetrics_border_included(images, own, _, options) -> None:
    pred, target = images
    means, full = structural_similarity_index_measure(
        pred, target, data_range=1.0, reduction="none", return_full_image=True, **options
    )
    found = ssim_map(pred, target, padding="same", **own)
    torch.testing.assert_close(found, full, atol=1e-6, rtol=0)
    own = {**own, "padding": "same"}
    torch.testing.assert_close(
        ssim(pred, target, reduction="none", **own), means, atol=1e-6, rtol=0
    )
    gradients = []
    for call in (
        lambda x: ssim(x, target, **own),
        lambda x: structural_similarity_index_measure(x, target, data_range=1.0, **options),
    ):
        x = pred.clone().requires_grad_()
        gradients += torch.autograd.grad(call(x), x)
    torch.testing.assert_close(*gradients, atol=1e-7, rtol=1e-4)


def test_same_padding_equals_kornia(images) -> None:
    theirs = kornia.metrics.ssim(*images, 11, padding="same")
    torch.testing.assert_close(ssim_map(*images, padding="same"), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_flat_images_differ_in_luminance_alone(window, padding) -> None:
    pred, target = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    found = ssim_map(pred, target, window=window, padding=padding)
    torch.testing.assert_close(found, torch.full_like(found, expected))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_weighs_scikit_images_map(images, channels: int) -> None:
    pred, target = images
    _, full = scikit_image(pred, target, gaussian_weights=True, sigma=1.5)
    mask = torch.rand(2, channels, 32, 27, dtype=torch.float64)
    mask[0, :, :20] = 0
    weights = mask.expand_as(full)[..., 5:-5, 5:-5].numpy()
    inner = full[..., 5:-5, 5:-5].numpy()
    expected = [float(np.average(m, weights=w)) for m, w in zip(inner, weights, strict=True)]
    found = ssim(pred, target, mask=mask, reduction="none")
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert float(SSIMLoss()(pred, target, mask)) == pytest.approx(1 - np.mean(expected), abs=1e-6)
    assert float(SSIMLoss(spatial=True)(pred, target, mask)) == pytest.approx(
        1 - np.mean(expected), abs=1e-6
    )


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pixels_beyond_the_reach_of_a_mask_do_not_count(images, padding) -> None:
    pred, target = images
    pred = pred.clone().requires_grad_()
    mask = torch.zeros(1, 1, 32, 27, dtype=torch.bool)  # one for both samples
    mask[..., :12, :] = True
    value = ssim(pred, target, mask=mask, padding=padding)
    (gradient,) = torch.autograd.grad(value, pred)
    assert gradient[:, :, :17].abs().min() > 0
    assert not gradient[:, :, 17:].any()
    ones = torch.ones(2, 1, 32, 27)
    torch.testing.assert_close(
        ssim(pred, target, mask=ones, padding=padding), ssim(pred, target, padding=padding)
    )


@pytest.mark.parametrize("spatial", [False, True])
def test_an_empty_mask_costs_nothing(images, spatial) -> None:
    pred, target = images
    pred = pred.clone().requires_grad_()
    mask = torch.zeros(2, 1, 32, 27)
    mask[1] = 1
    value = SSIMLoss(spatial=spatial)(pred, target, mask)
    value.backward()
    alone = SSIMLoss()(pred[1:], target[1:])
    torch.testing.assert_close(value, alone / 2)
    assert not pred.grad[0].any()
    assert torch.isfinite(pred.grad).all()


def test_the_loss_gives_maps(images) -> None:
    pred, target = images
    how: dict[str, Any] = {"padding": "same", "reduction": "none", **UNIFORM}
    found = SSIMLoss(spatial=True, **how)(pred, target)
    _, full = structural_similarity_index_measure(
        pred,
        target,
        data_range=1.0,
        gaussian_kernel=False,
        kernel_size=7,
        return_full_image=True,
    )
    torch.testing.assert_close(found, 1 - full, atol=1e-6, rtol=0)
    mask = torch.rand(2, 1, 32, 27, dtype=torch.float64)
    masked = SSIMLoss(spatial=True, **how)(pred, target, mask)
    torch.testing.assert_close(masked, (1 - full) * mask, atol=1e-6, rtol=0)
    mean = SSIMLoss(spatial=True, **{**how, "reduction": "mean"})(pred, target)
    torch.testing.assert_close(mean, 1 - full.mean(), atol=1e-6, rtol=0)


def test_ms_ssim_under_a_uniform_window_equals_pytorch_msssim() -> None:
    target = torch.rand(2, 3, 120, 121, dtype=torch.float64)
    pred = (target + 0.1 * torch.randn(target.shape)).clamp(0, 1)
    win = torch.full((3, 1, 1, 7), 1 / 7, dtype=torch.float64)
    theirs = pytorch_msssim.ms_ssim(pred, target, data_range=1.0, size_average=False, win=win)
    found = ms_ssim(pred, target, reduction="none", **UNIFORM)
    torch.testing.assert_close(found, theirs, atol=1e-6, rtol=0)
    loss = MSSSIMLoss(**UNIFORM)(pred, target)
    torch.testing.assert_close(loss, 1 - theirs.mean(), atol=1e-6, rtol=0)


def test_gradients_are_the_slopes() -> None:
    pred, target = torch.rand(2, 2, 2, 6, 7, dtype=torch.float64)
    mask = torch.rand(2, 1, 6, 7, dtype=torch.float64)
    options: dict[str, Any] = {"window": "uniform", "window_size": 3, "padding": "same"}
    torch.autograd.gradcheck(
        lambda x: ssim(x, target, mask=mask, reduction="none", **options), pred.requires_grad_()
    )


def test_compiles_with_mask_and_padding() -> None:
    pred, target = torch.rand(2, 1, 3, 24, 24)
    mask = torch.rand(1, 1, 24, 24)
    for spatial in (False, True):
        loss = SSIMLoss(padding="same", window="uniform", spatial=spatial)
        compiled = torch.compile(loss, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(pred, target, mask), loss(pred, target, mask))


def test_padding_admits_images_smaller_than_the_window() -> None:
    image = torch.rand(1, 1, 6, 6)
    assert float(ssim(image, image, padding="same")) == pytest.approx(1)
    with pytest.raises(ValueError, match="h and w of at least 6"):
        ssim(image[..., :5], image[..., :5], padding="same")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "box"}, "window must be one of 'gaussian', 'uniform', not 'box'"),
        ({"padding": "reflect"}, "padding must be one of 'valid', 'same', not 'reflect'"),
        ({"mask": torch.ones(1, 1, 16, 15)}, r"mask must be \(b, 1, h, w\) .*not \(1, 1, 16, 15\)"),
        ({"mask": torch.ones(1, 2, 16, 16)}, r"mask must be .*for images \(1, 3, 16, 16\)"),
        ({"mask": torch.ones(16, 16)}, r"not \(16, 16\)"),
    ],
)
def test_wrong_options_are_told(options, message) -> None:
    image = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match=message):
        ssim(image, image, **options)
    if "mask" in options:
        with pytest.raises(ValueError, match=message):
            SSIMLoss(spatial=True)(image, image, **options)
    else:
        with pytest.raises(ValueError, match=message):
            SSIMLoss(**options)
