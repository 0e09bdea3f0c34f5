"""How to try the losses: what the conformance kit, the docs and the benchmarks run."""

from __future__ import annotations

import torch
from losskit import Example


def pair(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two RGB images in [0, 1]."""
    shape = (batch, 3, height, width)
    return Example(
        inputs={"pred": torch.rand(shape), "target": torch.rand(shape)},
        grad=("pred",),
        frozen=("target",),
    )
