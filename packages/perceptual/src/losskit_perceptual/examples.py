"""Examples of each loss; see `Example`. Networks are random and shallow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from losskit.spec import Example

_SHALLOW = {"relu1_1": 1.0, "conv2_1": 0.5}
_ONE_TARGET = {"rejects": "a target of batch 1 is taken: it is that of the whole batch"}


def _images(batch: int, height: int, width: int) -> dict[str, Tensor]:
    shape = (batch, 3, height, width)
    return {"pred": torch.rand(shape), "target": torch.rand(shape)}


def pair(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two RGB images in [0, 1]."""
    return _example(batch, height, width)


def _example(
    batch: int, height: int, width: int, *, min_size: int = 1, **arguments: Any
) -> Example:
    return Example(
        arguments=arguments,
        inputs=_images(batch, height, width),
        frozen=("target",),
        min_size=min_size,
    )


def _vgg(layers: Mapping[str, float], **more: Any) -> dict[str, Any]:
    return {"layer_weights": dict(layers), "weights": "random", **more}


def perceptual(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """VGG-11's first layers, distance and style."""
    arguments = _vgg(_SHALLOW, vgg_type="vgg11", norm_img=False)
    return _example(batch, height, width, min_size=2, **arguments)


def style(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """VGG-11's first layers."""
    example = _example(batch, height, width, min_size=2, **_vgg(_SHALLOW, backbone="vgg11"))
    return replace(example, expected_failures=_ONE_TARGET)


def lpips(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A random SqueezeNet under the calibrated heads."""
    return _example(
        batch, max(height, 32), max(width, 32), min_size=32, net="squeeze", weights="random"
    )


def feature_distance(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """VGG-11's first layers, uncalibrated."""
    return _example(
        batch,
        height,
        width,
        min_size=2,
        backbone="vgg11",
        layers=tuple(_SHALLOW),
        weights="random",
    )


def dists(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A random VGG-16 under the published terms."""
    return _example(batch, height, width, min_size=16, weights="random")


def contextual(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """VGG-11's second block."""
    arguments = _vgg({"relu2_1": 1.0}, backbone="vgg11", chunk_size=48)
    example = _example(batch, height, width, min_size=4, **arguments)
    return replace(example, expected_failures=_ONE_TARGET)


def transferal(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Three levels of features and the attention that chose the textures."""
    sizes = [(max(height // 4, 1) * 2**level, max(width // 4, 1) * 2**level) for level in range(3)]
    channels = (8, 6, 4)
    maps = [torch.randn(batch, c, *size) for c, size in zip(channels, sizes, strict=True)]
    return Example(
        inputs={
            "maps": maps,
            "soft_attention": torch.randn(batch, 1, *sizes[0]),
            "textures": [torch.randn_like(level) for level in maps],
        },
        grad=("soft_attention",),
        min_size=4,
    )


def ssim(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two RGB images no smaller than the window."""
    return _example(batch, height, width, min_size=11)


def ms_ssim(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two scales and a small window, so that small images do."""
    return _example(batch, height, width, min_size=12, window_size=5, weights=(0.4, 0.6))


def pyramid(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Three levels."""
    return _example(batch, height, width, min_size=12, levels=3)


def ldl(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """With the images of a moving average of the generator."""
    shape = (batch, 3, height, width)
    return Example(
        inputs={**_images(batch, height, width), "ema": torch.rand(shape)},
        frozen=("target", "ema"),
        min_size=7,
        expected_failures={
            "gradcheck": "the map of artefacts is detached: the gradient is not the slope"
        },
    )


def focal_frequency(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Two RGB images; the weights of the frequencies follow their difference."""
    return Example(
        inputs=_images(batch, height, width),
        frozen=("target",),
        expected_failures={
            "gradcheck": "the weights of frequencies are detached: the gradient is not the slope"
        },
    )
