"""From a batch of images of any size to what a CLIP image tower takes, differentiably."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.backbones import InputNorm

# The statistics of OpenAI's training set, which most CLIP models share.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ClipPreprocess:
    """Resize, crop and normalise as the model's own evaluation transform does.

    Resizing is antialiased. Bicubic overshoot is not clamped: it would stop gradients.

    Args:
        size: height and width of the tower's input.
        mean: per channel, for images in [0, 1].
        std: per channel.
        resize_mode: ``"shortest"`` (resize the shorter side, crop the centre), ``"longest"`` (resize
            the longer side, pad with ``fill``) or ``"squash"``.
        interpolation: ``"bicubic"`` or ``"bilinear"``.
        low: the image value that means black.
        high: the image value that means white.
        fill: what ``"longest"`` pads with, in [0, 1].
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    low: float = 0.0
    high: float = 1.0
    fill: float = 0.0

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], data_range: tuple[float, float] = (0.0, 1.0)
    ) -> ClipPreprocess:
        """From an open_clip model's ``preprocess_cfg``."""
        size = config.get("size", 224)
        height, width = (size, size) if isinstance(size, int) else size
        return cls(
            size=(int(height), int(width)),
            mean=tuple(config.get("mean") or _MEAN),
            std=tuple(config.get("std") or _STD),
            resize_mode=config.get("resize_mode") or "shortest",
            interpolation="bilinear" if config.get("interpolation") == "bilinear" else "bicubic",
            low=data_range[0],
            high=data_range[1],
            fill=float(config.get("fill_color") or 0) / 255,
        )

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Preprocess a batch whose values lie in ``low`` to ``high``."""
        image = InputNorm(low=self.low, high=self.high)(image)
        target = self._resized(*image.shape[-2:])
        if tuple(image.shape[-2:]) != target:
            image = F.interpolate(
                image, target, mode=self.interpolation, align_corners=False, antialias=True
            )
        return InputNorm(self.mean, self.std)(_crop_or_pad(image, self.size, self.fill))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.resize_mode == "squash":
            return self.size
        rows, columns = height / self.size[0], width / self.size[1]
        if self.resize_mode == "longest":
            ratio = max(rows, columns)
        elif self.size[0] != self.size[1]:
            ratio = min(rows, columns)
        else:  # as torchvision's Resize: the longer side is cut off, not rounded
            side = self.size[0]
            if height <= width:
                return side, int(side * width / height)
            return int(side * height / width), side
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def _crop_or_pad(image: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    height, width = image.shape[-2:]
    short = [max(0, wanted - have) for wanted, have in zip(size, (height, width), strict=True)]
    if any(short):
        top, left = short[0] // 2, short[1] // 2
        image = F.pad(image, (left, short[1] - left, top, short[0] - top), value=fill)
        height, width = image.shape[-2:]
    top, left = round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)
    return image[..., top : top + size[0], left : left + size[1]]


@dataclass(frozen=True)
class StyleClipPreprocess:
    """StyleCLIP's arithmetic: repeat each pixel ``scale_factor`` times, average to ``pool_size``.

    It skips CLIP's mean and standard deviation, and hands values on in whatever range they have.
    For parity with published results; `ClipPreprocess` is the right
    way.

    Args:
        scale_factor: of the nearest-neighbour upsampling.
        pool_size: the tower's input size.
        in_size: the image size the pooling window is made for; ``None``: each image's own height.
    """

    scale_factor: int = 7
    pool_size: int = 224
    in_size: int | None = None

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Preprocess a batch.

        Raises:
            ValueError: the image's size does not pool to ``pool_size``.
        """
        window = self.scale_factor * (self.in_size or image.shape[-2]) // self.pool_size
        pooled = [side * self.scale_factor // window if window else 0 for side in image.shape[-2:]]
        if pooled != [self.pool_size, self.pool_size]:
            height, width = image.shape[-2:]
            raise ValueError(
                f"preprocess='styleclip' makes {pooled[0]}x{pooled[1]} of an image of {height}x{width}"
                f" with in_size={self.in_size!r}, and the model takes {self.pool_size}x{self.pool_size}"
                "; set in_size to the image's size, a multiple of 32, or use preprocess='clip'"
            )
        image = F.interpolate(image, scale_factor=float(self.scale_factor), mode="nearest")
        return F.avg_pool2d(image, window)
