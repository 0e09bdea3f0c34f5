"""A network of your own, named in the config as ``inpainter:Inpainter``."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Inpainter(nn.Module):
    """Dilated convolutions at half size see far enough to fill a hole.

    Args:
        channels: width of the network.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, channels, 5, stride=2, padding=2), nn.ELU()]
        for dilation in (1, 2, 4, 8, 1):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
                nn.ELU(),
            ]
        self.net = nn.Sequential(
            *layers, nn.Conv2d(channels, 12, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()
        )

    def forward(self, lq: Tensor, mask: Tensor) -> Tensor:
        """A whole image in [-1, 1]; only the part under ``mask`` will be used."""
        image: Tensor = self.net(torch.cat([lq, mask], dim=1))
        return image
