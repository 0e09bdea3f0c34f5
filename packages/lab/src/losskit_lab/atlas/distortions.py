"""Ways to spoil a photograph, each with a strength in units of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Distortion:
    """One way to spoil an image.

    Args:
        name: for headings and the CSV.
        unit: of the strength, as an axis label.
        levels: growing strengths, the first of them "nothing".
        apply: image ``(1, 3, h, w)`` in [0, 1] and strength → image of the same shape and range.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor]

    def at(self, image: Tensor, strength: float) -> Tensor:
        """The spoilt image; the image itself at the first level."""
        if strength == self.levels[0]:
            return image.clone()
        return self.apply(image, strength).clamp(0, 1)


def _noise(image: Tensor, sigma: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)  # one pattern, whatever the strength
    return image + sigma * torch.randn(image.shape, generator=generator)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(3 * sigma))
    axis = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[:, None, None, :], groups=3)
    return F.conv2d(rows, kernel[:, None, :, None], groups=3)


def _jpeg(image: Tensor, loss: float) -> Tensor:
    import numpy as np
    from PIL import Image

    from losskit.images.pixels import as_picture

    buffer = io.BytesIO()
    as_picture(image).save(buffer, "JPEG", quality=max(1, round(100 - loss)))
    pixels = np.array(Image.open(buffer)).astype(np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _shift(image: Tensor, pixels: float) -> Tensor:
    return _warp(image, 0.0, pixels)


def _rotate(image: Tensor, degrees: float) -> Tensor:
    return _warp(image, degrees, 0.0)


def _warp(image: Tensor, degrees: float, pixels: float) -> Tensor:
    """Rotate about the centre and move to the right; what comes in from outside is mirrored."""
    height, width = image.shape[2:]
    angle = math.radians(degrees)
    ratio = height / width
    matrix = image.new_tensor(
        [
            [math.cos(angle), -math.sin(angle) * ratio, -2 * pixels / width],
            [math.sin(angle) / ratio, math.cos(angle), 0],
        ]
    )
    grid = F.affine_grid(matrix[None], list(image.shape), align_corners=False)
    return F.grid_sample(
        image, grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def _brighten(image: Tensor, step: float) -> Tensor:
    return image + step


def _flatten(image: Tensor, loss: float) -> Tensor:
    mean = image.mean((2, 3), keepdim=True)
    return mean + (1 - loss) * (image - mean)


DISTORTIONS: tuple[Distortion, ...] = (
    Distortion("noise", "σ (range 1)", (0, 0.025, 0.05, 0.1, 0.2), _noise),
    Distortion("blur", "σ (px)", (0, 0.7, 1.4, 2.8, 5.6), _blur),
    Distortion("jpeg", "100 − quality", (0, 40, 70, 85, 95), _jpeg),
    Distortion("shift", "px", (0, 0.5, 1, 2, 4), _shift),
    Distortion("rotation", "degrees", (0, 0.5, 1, 2, 4), _rotate),
    Distortion("brightness", "added (range 1)", (0, 0.03, 0.06, 0.12, 0.24), _brighten),
    Distortion("contrast", "part lost", (0, 0.1, 0.2, 0.4, 0.8), _flatten),
)


def psnr(image: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels of images in [0, 1]; infinite where they are equal."""
    mse = float((image - reference).square().mean())
    return -10 * math.log10(mse) if mse > 0 else math.inf


def at_psnr(distortion: Distortion, image: Tensor, decibels: float) -> tuple[float, Tensor]:
    """The strength at which a distortion costs just so much PSNR, and the image it makes.

    Args:
        distortion: which.
        image: ``(1, 3, h, w)`` in [0, 1].
        decibels: the PSNR to reach; where even eight times the strongest level stays above it
            (JPEG at its worst), the nearest that can be had.
    """
    low, high = distortion.levels[0], distortion.levels[-1]
    for _ in range(3):
        if psnr(distortion.at(image, high), image) <= decibels:
            break
        high = min(2 * high, 99.0) if distortion.name == "jpeg" else 2 * high
    for _ in range(14):
        middle = (low + high) / 2
        if psnr(distortion.at(image, middle), image) > decibels:
            low = middle
        else:
            high = middle
    return high, distortion.at(image, high)
