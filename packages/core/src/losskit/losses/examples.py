"""Examples of each of the core's losses; see `Example`."""

from __future__ import annotations

import torch

from losskit.spec import Example


def pair(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two RGB images in [0, 1]."""
    shape = (batch, 3, height, width)
    return Example(
        inputs={"pred": torch.rand(shape), "target": torch.rand(shape)}, frozen=("target",)
    )


def total_variation(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """An RGB image and a mask."""
    return Example(
        inputs={
            "pred": torch.rand(batch, 3, height, width),
            "mask": (torch.rand(batch, 1, height, width) > 0.3).float(),
        },
        frozen=("mask",),
        min_size=2,
    )


def composition(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A matte, a foreground, a background, and the image they made."""
    fg, bg = torch.rand(2, batch, 3, height, width).unbind()
    alpha = torch.rand(batch, 1, height, width)
    return Example(
        inputs={
            "pred_alpha": torch.rand(batch, 1, height, width),
            "fg": fg,
            "bg": bg,
            "ori_merged": alpha * fg + (1 - alpha) * bg,
        },
        grad=("pred_alpha",),
        frozen=("ori_merged",),
    )
