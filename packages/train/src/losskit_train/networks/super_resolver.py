"""A small super-resolver: residual blocks and a pixel shuffle (EDSR, arXiv:1707.02921)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.losses.checks import check_positive


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        details: Tensor = self.body(x)
        return x + 0.2 * details  # small steps train stably without normalisation


class SuperResolver(nn.Module):
    """Enlarges images: learned details on top of a bicubic enlargement.

    Args:
        scale: a whole number of times; 1 restores an image at its own size.
        channels: width of the network.
        blocks: number of residual blocks.
        in_channels: of the images.

    Raises:
        ValueError: a number is below 1.

    Example:
        >>> import torch
        >>> SuperResolver(scale=4, blocks=2)(torch.rand(1, 3, 8, 9)).shape
        torch.Size([1, 3, 32, 36])
    """

    def __init__(
        self, *, scale: int = 2, channels: int = 32, blocks: int = 4, in_channels: int = 3
    ) -> None:
        super().__init__()
        check_positive(scale=scale, channels=channels, blocks=blocks, in_channels=in_channels)
        self.scale = scale
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            *(_Residual(channels) for _ in range(blocks)),
        )
        self.details = nn.Conv2d(channels, in_channels * scale**2, 3, padding=1, bias=False)
        nn.init.normal_(self.details.weight, std=1e-3)  # training starts from the bicubic image

    @property
    def last_layer(self) -> Tensor:
        """Parameter at which an adaptive adversarial weight is measured."""
        return self.details.weight

    def forward(self, lq: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        """Enlarged images, in the range of the given ones."""
        base = F.interpolate(lq, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return base + F.pixel_shuffle(self.details(self.body(lq)), self.scale)
