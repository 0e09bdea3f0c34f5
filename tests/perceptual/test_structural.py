"""SSIM and MS-SSIM against pytorch-msssim, kornia and scikit-image."""

from __future__ import annotations

import kornia
import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity

from losskit.errors import RangeWarning
from losskit_perceptual.multi_scale import MSSSIMLoss, _power, ms_ssim
from losskit_perceptual.structural import SSIMLoss, ssim


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(2, 3, 32, 27, dtype=torch.float64, generator=generator)
    noise = 0.2 * torch.randn(target.shape, dtype=torch.float64, generator=generator)
    return (target + noise).clamp(0, 1), target


def test_equals_pytorch_msssim(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = images
    theirs = pytorch_msssim.ssim(pred, target, data_range=1.0, size_average=False)
    torch.testing.assert_close(ssim(pred, target, reduction="none"), theirs, atol=1e-7, rtol=0)


def test_gradient_equals_pytorch_msssim(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = (image.float() for image in images)
    ours = pred.clone().requires_grad_()
    theirs = pred.clone().requires_grad_()
    ssim(ours, target).backward()
    pytorch_msssim.ssim(theirs, target, data_range=1.0).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-7, rtol=1e-4)


def test_equals_kornia_without_padding(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = images
    theirs = kornia.metrics.ssim(pred, target, 11, padding="valid").flatten(1).mean(1)
    torch.testing.assert_close(ssim(pred, target, reduction="none"), theirs, atol=1e-6, rtol=0)


def test_equals_scikit_image(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = (image[:1] for image in images)
    _, full = structural_similarity(
        pred[0].permute(1, 2, 0).numpy(),
        target[0].permute(1, 2, 0).numpy(),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inner = np.asarray(full)[5:-5, 5:-5].mean()
    assert float(ssim(pred, target)) == pytest.approx(inner, abs=1e-6)


def test_ms_ssim_equals_pytorch_msssim() -> None:
    generator = torch.Generator().manual_seed(4)
    target = torch.rand(2, 3, 170, 181, dtype=torch.float64, generator=generator)
    pred = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    theirs = pytorch_msssim.ms_ssim(pred, target, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(pred, target, reduction="none"), theirs, atol=1e-6, rtol=0)


def test_ms_ssim_gradient_is_finite_where_contrast_is_negative() -> None:
    target = torch.rand(1, 1, 24, 24)
    pred = (1 - target).requires_grad_()
    ms_ssim(pred, target, window_size=5, weights=(0.3, 0.7)).backward()
    assert torch.isfinite(pred.grad).all()


def test_range_is_honoured(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    pred, target = images
    plain = ssim(pred, target)
    torch.testing.assert_close(ssim(pred * 255, target * 255, data_range=255), plain)
    torch.testing.assert_close(ssim(pred * 2 - 1, target * 2 - 1, data_range=(-1, 1)), plain)


def test_wrong_range_warns_once_and_names_the_argument() -> None:
    loss = SSIMLoss()
    bright = torch.rand(1, 3, 16, 16) * 255
    with pytest.warns(RangeWarning, match="pred holds values .*data_range"):
        loss(bright, torch.rand(1, 3, 16, 16))
    loss(bright, torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("loss", [SSIMLoss(), MSSSIMLoss(window_size=5, weights=(0.4, 0.6))])
def test_equal_images_cost_nothing_and_have_finite_gradients(loss: torch.nn.Module) -> None:
    target = torch.rand(2, 3, 24, 24)
    pred = target.clone().requires_grad_()
    value = loss(pred, target)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("loss", [SSIMLoss(), MSSSIMLoss(window_size=5, weights=(0.4, 0.6))])
def test_compiles_without_a_graph_break(loss: torch.nn.Module) -> None:
    pred, target = torch.rand(2, 1, 3, 24, 24)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_bfloat16_is_compared_in_float32() -> None:
    pred, target = torch.rand(2, 1, 3, 16, 16).bfloat16()
    assert SSIMLoss()(pred, target).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ssim(x, x[:, :1]), "must have one shape"),
        (lambda x: ssim(x[..., :5], x[..., :5]), "at least 11"),
        (lambda x: ssim(x, x, window_size=4), "odd and positive, not 4"),
        (lambda x: ssim(x, x, sigma=0.0), "sigma must be positive and finite, not 0.0"),
        (lambda x: ms_ssim(x, x), "at least 161"),
        (lambda x: ms_ssim(x, x, weights=()), "weights must hold"),
        (lambda x: ssim(x, x, reduction="avg"), "not 'avg'"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 16, 16))  # type: ignore[operator]


def test_integers_are_refused() -> None:
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(TypeError, match="pred must be a floating-point"):
        ssim(image, image)


@pytest.mark.parametrize(("level", "width"), [(0.9, 1.0), (60000.0, 65535.0), (0.9998, 1.0)])
@pytest.mark.parametrize("similarity", [ssim, ms_ssim])
def test_bright_flat_images_lose_nothing_in_float32(similarity, level: float, width: float) -> None:
    noise = 1e-4 * width * torch.randn(2, 2, 3, 192, 192, dtype=torch.float64)
    pred, target = (level + noise).clamp(0, width).float()
    value = similarity(pred, target, data_range=width)
    expected = similarity(pred.double(), target.double(), data_range=width)
    assert value <= 1
    assert abs(float(value) - float(expected)) < 1e-6
    pred[..., :96, :] = target[..., :96, :] = (
        0  # what a whole image is centred by does not fit either half
    )
    value = similarity(pred, target, data_range=width)
    expected = similarity(pred.double(), target.double(), data_range=width)
    assert abs(float(value) - float(expected)) < 1e-6


def test_a_negative_contrast_counts_as_nothing() -> None:
    pred = torch.rand(2, 3, 192, 192, dtype=torch.float64, requires_grad=True)
    value = ms_ssim(pred, 1 - pred.detach(), reduction="none")  # the negative image
    published = pytorch_msssim.ms_ssim(pred, 1 - pred.detach(), data_range=1.0, size_average=False)
    torch.testing.assert_close(value, published)
    assert not value.any()
    (gradient,) = torch.autograd.grad(value.sum(), pred)
    assert torch.isfinite(gradient).all()


def test_a_contrast_near_nothing_has_a_bounded_slope() -> None:
    base = torch.tensor([-1.0, 0.0, 1e-9, 1e-6, 1e-3, 1.0], dtype=torch.float64, requires_grad=True)
    value = _power(base, 0.0448)
    (slope,) = torch.autograd.grad(value.sum(), base)
    assert value.tolist()[:2] == [0.0, 0.0]
    torch.testing.assert_close(value[3:], base[3:] ** 0.0448)
    assert slope.max() < 1e-6 ** (0.0448 - 1) * 1.001
    assert (value.diff() >= 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": (0.0, 0.0)}, "k must be two positive numbers"),
        ({"k": (0.01, float("nan"))}, "k must be two positive numbers"),
        ({"sigma": float("nan")}, "sigma must be positive"),
        ({"sigma": float("inf")}, "sigma must be positive and finite"),
    ],
)
@pytest.mark.parametrize("similarity", [ssim, ms_ssim])
def test_options_that_give_nonsense_are_refused(similarity, options, message) -> None:
    image = torch.rand(1, 3, 192, 192)
    with pytest.raises(ValueError, match=message):
        similarity(image, image, **options)


@pytest.mark.parametrize("weights", [(-0.1, 1.0), (float("nan"),), (0.0, 0.0)])
def test_weights_of_scales_are_checked(weights) -> None:
    with pytest.raises(ValueError, match="weights must be at least 0, finite and not all 0"):
        MSSSIMLoss(weights=weights)
