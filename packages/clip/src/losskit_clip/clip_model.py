"""MMagic's ``clip_model`` argument: StyleCLIP's preprocessing by its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from losskit.errors import nearest
from losskit_clip.preprocess import StyleClipPreprocess

_KEYS = ("in_size", "scale_factor", "pool_size", "clip_type")


def check_clip_model(clip_model: Mapping[str, Any], given: Mapping[str, bool]) -> None:
    """Raise where it is wrong, or where another argument that it stands for is given too.

    Args:
        clip_model: MMagic's mapping.
        given: which of ``model``, ``preprocess`` and ``pairing`` are not at their defaults.

    Raises:
        TypeError: it is no mapping.
        ValueError: a key is unknown, a number is none, or two arguments say one thing.
    """
    if not isinstance(clip_model, Mapping):
        raise TypeError(
            f"clip_model must be a mapping such as {{'in_size': 1024}}, not {clip_model!r}"
        )
    for key, value in clip_model.items():
        if key not in _KEYS:
            raise ValueError(
                f"clip_model has no key {key!r}{nearest(str(key), _KEYS)}; it takes {', '.join(_KEYS)}"
            )
        if key != "clip_type" and (not isinstance(value, int) or value < 1):
            raise ValueError(
                f"{key} in clip_model must be a whole number of at least 1, not {value!r}"
            )
    for name, is_given in given.items():
        if is_given and (name != "model" or "clip_type" in clip_model):
            raise ValueError(
                f"clip_model stands for {name} too: give {name} or clip_model, not both"
            )


def styleclip_preprocess(clip_model: Mapping[str, Any]) -> StyleClipPreprocess:
    """Make StyleCLIP's preprocessing from ``clip_model``; missing numbers are MMagic's defaults."""
    return StyleClipPreprocess(
        scale_factor=clip_model.get("scale_factor", 7),
        pool_size=clip_model.get("pool_size", 224),
        in_size=clip_model.get("in_size", 1024),
    )
