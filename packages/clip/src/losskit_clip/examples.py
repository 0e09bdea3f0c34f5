"""Examples of each loss, on a CLIP small enough to run anywhere; see `Example`."""

from __future__ import annotations

import functools
from typing import Any

import torch

from losskit.spec import Example


@functools.cache
def tiny_clip() -> Any:
    """A random CLIP of two small transformers, with CLIP's own vocabulary."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(
            16,
            CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=8, image_size=16),
            CLIPTextCfg(width=16, heads=2, layers=1),
        ).eval()


def _pair(other: str, *size: int) -> dict[str, torch.Tensor]:
    batch, height, width = size
    return {name: torch.rand(batch, 3, height, width) for name in ("pred", other)}


def text(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Images, and prompts given once."""
    return Example(
        arguments={"prompts": {"a cat": 1.0, "a blurred photo": -0.5}, "model": tiny_clip()},
        inputs={"image": torch.rand(batch, 3, height, width)},
        grad=("image",),
    )


def directional(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Edited images and the images they came from."""
    return Example(
        arguments={"target_text": "sketch", "templates": None, "model": tiny_clip()},
        inputs=_pair("source", batch, height, width),
        frozen=("source",),
    )


def image(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two batches of images."""
    return Example(
        arguments={"layers": {"block0": 1.0, "embedding": 0.1}, "model": tiny_clip()},
        inputs=_pair("target", batch, height, width),
        frozen=("target",),
    )


def patches(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Stylised images and the images they came from."""
    return Example(
        arguments={
            "text": "sketch",
            "source_text": "photo",
            "num_patches": 3,
            "patch_size": 8,
            "threshold": 0.0,
            "templates": None,
            "model": tiny_clip(),
        },
        inputs=_pair("source", batch, height, width),
        frozen=("source",),
    )
