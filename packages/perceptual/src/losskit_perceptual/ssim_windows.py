"""SSIM at every window, before any mean: the map, and what SSIM and MS-SSIM make of it."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_maps, check_pair, layout_hint
from losskit.losses.data_range import DataRange, parse_data_range
from losskit_perceptual.features import check_choice

Window: TypeAlias = Literal["gaussian", "uniform"]
Padding: TypeAlias = Literal["valid", "same"]


def ssim_map(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    window: Window = "gaussian",
    padding: Padding = "valid",
) -> Float[Tensor, "b c i j"]:
    r"""Structural similarity at each pixel and channel, under the window centred there.

    What torchmetrics gives for ``return_full_image=True`` and scikit-image for ``full=True``.

    Args:
        pred: images within ``data_range``; every channel is compared by itself.
        target: of the same shape; gets no gradient.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``.
        window_size: odd, in pixels.
        sigma: of the Gaussian, in pixels; a uniform window has none.
        k: $K_1$ and $K_2$ of the paper.
        window: ``"gaussian"``, the paper's, or ``"uniform"``: all pixels count alike, as in
            scikit-image unless told otherwise (there 7 pixels wide, and with the sample covariance,
            where this is the population's).
        padding: ``"valid"``: whole windows only, so the map is ``window_size - 1`` smaller on each
            axis. ``"same"``: images are reflected at the border without repeating its pixels, as
            torchmetrics and kornia do, and the map has their size; scikit-image repeats the border's
            pixels, so that maps differ within ``window_size // 2`` of it.

    Returns:
        Similarity in (-1, 1]; 1 where the windows are equal.

    Raises:
        ValueError: shapes differ, are not 4-D, or too small for the window; an option is out of range.
        TypeError: one of them is not floating point.

    Example:
        >>> image = torch.rand(1, 3, 16, 20)
        >>> ssim_map(image, image).shape, ssim_map(image, image, padding="same").shape
        (torch.Size([1, 3, 6, 10]), torch.Size([1, 3, 16, 20]))

    References:
        Wang et al., TIP 2004, doi:10.1109/TIP.2003.819861, equation 13.
    """
    check_window(window_size, sigma, window)
    check_choice("padding", padding, ("valid", "same"))
    check_k(k)
    radius = window_size // 2
    check_size(pred, target, window_size if padding == "valid" else radius + 1)
    pred, target, width = in_range(pred, target, data_range)
    with torch.autocast(pred.device.type, enabled=False):
        if padding == "same":
            pred, target = (F.pad(x, [radius] * 4, mode="reflect") for x in (pred, target))
        weights = window_weights(window, window_size, sigma, pred)
        similarity, _ = similarity_maps(pred, target, width, weights, k)
    return similarity


def mask_at_centres(
    mask: Tensor, pred: Tensor, window_size: int, padding: Padding
) -> Float[Tensor, "b c i j"]:
    """An image's mask where a map has its values: at the centres of the windows.

    Raises:
        ValueError: the mask fits no such images.
    """
    fits = mask.ndim == 4 and mask.shape[2:] == pred.shape[2:]
    if not fits or any(mask.shape[axis] not in (1, pred.shape[axis]) for axis in (0, 1)):
        raise ValueError(
            f"mask must be (b, 1, h, w) or (b, c, h, w) for images {tuple(pred.shape)}, "
            f"not {tuple(mask.shape)}"
        )
    mask = mask.to(torch.promote_types(pred.dtype, torch.float32)).expand_as(pred)
    edge = window_size // 2 if padding == "valid" else 0
    return mask[:, :, edge : mask.shape[2] - edge, edge : mask.shape[3] - edge]


def check_size(pred: Tensor, target: Tensor, least: int) -> None:
    """Raise unless both are images of one shape, whose sides are at least so many pixels."""
    check_pair(pred, target)
    check_maps("pred", pred)
    if min(pred.shape[2:]) < least:
        raise ValueError(
            f"pred must be (b, c, h, w) with h and w of at least {least}, not {tuple(pred.shape)}"
            + (layout_hint(pred) or ": use larger images or a smaller window_size")
        )


def check_window(window_size: int, sigma: float, window: Window) -> None:
    """Raise ValueError unless there is such a window."""
    check_choice("window", window, ("gaussian", "uniform"))
    if window_size < 1 or window_size % 2 == 0:
        raise ValueError(f"window_size must be odd and positive, not {window_size!r}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be positive and finite, not {sigma!r}")


def check_k(k: tuple[float, float]) -> None:
    """Raise ValueError unless the constants keep flat images from 0/0."""
    if len(k) != 2 or not all(0 < value < math.inf for value in k):
        raise ValueError(f"k must be two positive numbers, not {k!r}: flat images would give 0/0")


def in_range(pred: Tensor, target: Tensor, data_range: DataRange) -> tuple[Tensor, Tensor, float]:
    """Both images in float32 or better, starting at 0, and the range's width.

    SSIM's luminance term is defined for images that start at 0.
    """
    low, high = parse_data_range(data_range)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype), target.to(dtype).detach()
    return (pred - low, target - low, high - low) if low else (pred, target, high)


def window_weights(window: Window, window_size: int, sigma: float, like: Tensor) -> Tensor:
    """One axis of a separable window, of sum 1."""
    if window == "uniform":
        return like.new_full((window_size,), 1 / window_size)
    x = torch.arange(window_size, device=like.device, dtype=like.dtype) - window_size // 2
    weights = torch.exp(-x.square() / (2 * sigma**2))
    return weights / weights.sum()


def _filter(image: Tensor, weights: Tensor) -> Tensor:
    """Separable filtering without padding: only whole windows count."""
    channels = image.shape[1]
    kernel = weights.expand(channels, 1, 1, -1)
    image = F.conv2d(image, kernel.transpose(2, 3), groups=channels)
    return F.conv2d(image, kernel, groups=channels)


def similarity_maps(
    pred: Tensor, target: Tensor, width: float, weights: Tensor, k: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    r"""SSIM and its contrast-structure part, per whole window.

    $E[x^2] - E[x]^2$ cancels where images are bright and flat. The sum $u$ and the difference $v$ of
    the images, each less its mean, have small squares, and say the same:
    $4\sigma_{pt} = \sigma_u^2 - \sigma_v^2$ and $2(\sigma_p^2 + \sigma_t^2) = \sigma_u^2 + \sigma_v^2$.
    """
    c1, c2 = 2 * (k[0] * width) ** 2, 2 * (k[1] * width) ** 2
    channels = torch.cat([pred + target, pred - target], dim=1)
    # A number to subtract, so no gradient: variances do not change with it.
    centre = channels.detach().mean((2, 3), keepdim=True)
    channels = channels - centre
    means, squares = _filter(torch.cat([channels, channels * channels], dim=1), weights).chunk(2, 1)
    var_u, var_v = (squares - means**2).chunk(2, 1)
    mean_u, mean_v = (means + centre).chunk(2, 1)
    contrast = (var_u - var_v + c2) / (var_u + var_v + c2)
    luminance = 1 - 2 * mean_v**2 / (mean_u**2 + mean_v**2 + c1)
    return luminance * contrast, contrast
