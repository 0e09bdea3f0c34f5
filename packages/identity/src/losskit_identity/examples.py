"""Examples of each loss, on networks small enough to run anywhere; see `Example`."""

from __future__ import annotations

import functools

import torch
from torch import nn

from losskit.spec import Example


@functools.cache
def tiny_facenet() -> nn.Module:
    """A random embedding network of a few smooth layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.AvgPool2d(8), nn.Conv2d(3, 8, 3, 2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(16)
        )
        network(torch.zeros(1, 3, 112, 112))
        return network


def face_pair(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two batches of "faces" in [-1, 1]."""
    return Example(
        arguments={"facenet": tiny_facenet()},
        inputs={
            "pred": torch.rand(batch, 3, height, width) * 2 - 1,
            "target": torch.rand(batch, 3, height, width) * 2 - 1,
        },
        frozen=("target",),
        image_range=(-1.0, 1.0),
    )


def light_cnn(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two batches of faces for LightCNN with random weights."""
    return Example(
        arguments={"weights": "random"},
        inputs={
            "pred": torch.rand(batch, 3, height, width),
            "target": torch.rand(batch, 3, height, width),
        },
        frozen=("target",),
    )
