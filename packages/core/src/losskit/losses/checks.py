"""Checks of what losses of images are given, shared by the plugins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral

from torch import Tensor

from losskit.losses.reduction import check_same_shape


def check_floating(name: str, value: object) -> None:
    """Raise TypeError unless it is a floating-point tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(
            f"{name} must be a floating-point tensor, not {value.dtype}; "
            f"convert it, and scale it to the range of values that the loss expects"
        )


def check_pair(pred: Tensor, target: Tensor, names: str = "pred and target") -> None:
    """Raise unless both are floating-point tensors of one shape, and hold something.

    Raises:
        TypeError: no tensor, or of another type.
        ValueError: shapes differ, or there is no element: a mean over nothing is NaN.
    """
    check_same_shape(pred, target, names)
    for name, value in zip(names.split(" and "), (pred, target), strict=True):
        check_floating(name, value)
    if pred.numel() == 0:
        raise ValueError(f"{names} must hold at least one element, not {tuple(pred.shape)}")


#: The side of images that are told from maps of features by it.
_STRIP = 16


def check_maps(name: str, image: Tensor) -> None:
    """Raise ValueError unless it has the four axes ``(b, c, h, w)``.

    A strip of 16 or more pixels by 3 or 4, of 16 or more channels, is taken for ``(b, h, w, c)``.
    """
    strip = image.ndim == 4 and image.shape[3] in (3, 4) and min(image.shape[1:3]) >= _STRIP
    if image.ndim != 4 or strip:
        hint = _rank_hint(image) or layout_hint(image)
        raise ValueError(f"{name} must be (b, c, h, w), not {tuple(image.shape)}{hint}")


def check_rgb(name: str, image: object, *, may_be_empty: bool = False) -> None:
    """Raise unless it is a batch of RGB images in floating point.

    A loss is a mean, so there is none of an empty batch; what looks at images alone may allow it.

    Raises:
        TypeError: no tensor, or of another type.
        ValueError: the shape is not ``(b, 3, h, w)``, or there is no pixel.
    """
    check_floating(name, image)
    assert isinstance(image, Tensor)
    if image.ndim != 4 or image.shape[1] != 3:
        hint = _rank_hint(image) or layout_hint(image) or _channels_hint(image)
        raise ValueError(f"{name} must have the shape (b, 3, h, w), not {tuple(image.shape)}{hint}")
    if image.numel() == 0 and not may_be_empty:
        raise ValueError(f"{name} must hold at least one pixel, not {tuple(image.shape)}")


def layout_hint(image: Tensor) -> str:
    """Suggest a permutation where channels seem to be last; return "" where they do not."""
    if image.ndim == 4 and image.shape[3] in (1, 3, 4) and image.shape[1] not in (1, 3, 4):
        return ": channels seem to be last, so turn it with .permute(0, 3, 1, 2)"
    return ""


def _rank_hint(image: Tensor) -> str:
    if image.ndim == 3 and image.shape[2] in (3, 4) and image.shape[0] not in (1, 3, 4):
        return ": for one image (h, w, c) use .permute(2, 0, 1)[None]"
    if image.ndim == 3:
        return ": for one image (c, h, w) add the batch's axis with [None]"
    if image.ndim == 5:
        return ": for frames (b, t, c, h, w) put time into the batch with .flatten(0, 1)"
    return ""


def _channels_hint(image: Tensor) -> str:
    if image.shape[1] == 1:
        return ": repeat a grey image's channel with .expand(-1, 3, -1, -1)"
    if image.shape[1] == 4:
        return ": drop RGBA's alpha with [:, :3], or lay the image on a background first"
    return ""


def check_number(
    name: str, value: float, *, above: float | None = None, least: float | None = None
) -> None:
    """Raise ValueError unless an option is a finite number, above a bound or at least one."""
    if above is not None and not value > above:
        bound = "positive" if above == 0 else f"above {above:g}"
        raise ValueError(f"{name} must be {bound}, not {value!r}")
    if least is not None and not value >= least:
        raise ValueError(f"{name} must be at least {least:g}, not {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")


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


def check_positive(**values: int) -> None:
    """Raise ValueError unless every value is a whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
