"""Checks of what losses of images are given, shared by the plugins."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor


def check_rgb(name: str, image: object) -> None:
    """Raise unless it is a batch of RGB images in floating point.

    Raises:
        TypeError: no tensor, or of another type.
        ValueError: the shape is not ``(b, 3, h, w)``.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(image).__name__}")
    if not image.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, not {image.dtype}")
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"{name} must have the shape (b, 3, h, w), not {tuple(image.shape)}")


def check_layers(layers: Mapping[str, float]) -> dict[str, float]:
    """Layers with weights, as a dict of one's own.

    Raises:
        ValueError: there is none, or a weight is not finite.
        TypeError: it is no mapping, or a weight is no number.
    """
    if not isinstance(layers, Mapping):
        raise TypeError(
            f"layers must map names to weights, as {{'embedding': 1.0}}, not {layers!r}"
        )
    if not layers:
        raise ValueError("layers must name at least one layer, such as {'embedding': 1.0}")
    for layer, weight in layers.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise TypeError(f"layers[{layer!r}] must be a number, not {weight!r}")
        if not math.isfinite(weight):
            raise ValueError(f"layers[{layer!r}] must be finite, not {weight!r}")
    return {layer: float(weight) for layer, weight in layers.items()}
