"""Evaluation of the demo's columns against the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from losskit.errors import LosskitError


@dataclass(frozen=True)
class Column:
    """One method's picture of the held-out photo and its figures.

    Args:
        label: what the picture is called.
        image: ``(1, 3, h, w)`` in [0, 1].
        psnr: decibels; ``None`` where the picture is no attempt at the truth.
        ssim: structural similarity, likewise.
        spectrum_error: how far the power of its frequencies is from the truth's: root mean square
            over frequencies, in decibels; likewise.
        distance: between a pretrained network's features; ``None`` where none is installed.
    """

    label: str
    image: Tensor
    psnr: float | None = None
    ssim: float | None = None
    spectrum_error: float | None = None
    distance: float | None = None


def measure(label: str, image: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "1 3 h w"]) -> Column:
    """A picture with its figures; SSIM as scikit-image computes it with Wang's Gaussian window."""
    from skimage.metrics import structural_similarity

    image = image.clamp(0, 1)
    psnr = float(-10 * torch.log10((image - truth).pow(2).mean()))
    arrays = [tensor[0].permute(1, 2, 0).numpy() for tensor in (image, truth)]
    ssim = structural_similarity(
        *arrays,
        channel_axis=2,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    distance = feature_distance()
    value = None if distance is None else float(distance(image, truth))
    return Column(label, image, psnr, float(ssim), spectrum_error(image, truth), value)


def spectrum_error(image: Float[Tensor, "1 3 h w"], truth: Float[Tensor, "1 3 h w"]) -> float:
    """Root mean square over frequencies, each alike, of the ratio of powers in decibels; 0 at best."""
    decibels = 10 * np.log10(radial_power(image) / radial_power(truth))
    return float(np.sqrt(np.mean(decibels**2)))


def radial_power(image: Tensor, bins: int = 24) -> NDArray[np.float64]:
    """The luminance's power, averaged over rings of equal frequency up to Nyquist's."""
    grey = image[0].double().mean(0).numpy()
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    bins = min(bins, min(grey.shape) // 2)  # each ring holds some frequencies
    rows, columns = (np.fft.fftfreq(size)[:, None] for size in grey.shape)
    radius = np.hypot(rows, columns.T) / 0.5
    ring = np.minimum((radius * bins).astype(int), bins)  # the corners beyond Nyquist: a last ring
    sums = np.bincount(ring.ravel(), power.ravel(), minlength=bins + 1)
    return (sums / np.bincount(ring.ravel(), minlength=bins + 1))[:bins]


def feature_distance() -> Callable[[Tensor, Tensor], Tensor] | None:
    """A distance between a real network's features, if its plugin and weights are installed."""
    from losskit.objectives.build import create

    try:
        loss = create("FeatureDistance", backbone="efficientnet-lite0")
    except (LosskitError, ValueError):
        return None

    @torch.no_grad()
    def distance(image: Tensor, truth: Tensor) -> Tensor:
        value: Tensor = loss(image, truth)
        return value

    return distance


def table(columns: list[Column]) -> str:
    """The figures as text, one line a column."""
    lines = [f"{'':<22}{'PSNR dB':>9}{'SSIM':>9}{'spectrum error dB':>20}{'feature distance':>19}"]
    for column in columns:
        if column.psnr is None or column.ssim is None or column.spectrum_error is None:
            continue
        distance = "-" if column.distance is None else f"{column.distance:.4f}"
        lines.append(
            f"{column.label:<22}{column.psnr:>9.2f}{column.ssim:>9.4f}"
            f"{column.spectrum_error:>20.2f}{distance:>19}"
        )
    return "\n".join(lines)
