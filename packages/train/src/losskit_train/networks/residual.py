"""A residual discriminator in the manner of StyleGAN2's (arXiv:1912.04958)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.losses.checks import check_positive
from losskit_train.networks.sizes import doublings


class _Block(nn.Module):
    """Two convolutions and a skip, at half the size."""

    def __init__(self, width: int, following: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, following, 3, padding=1)
        self.skip = nn.Conv2d(width, following, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), 0.2)
        y = F.avg_pool2d(F.leaky_relu(self.conv2(y), 0.2), 2)
        # Halved variance: the sum of two branches would grow with depth.
        halved: Tensor = (y + self.skip(F.avg_pool2d(x, 2))) * 2**-0.5
        return halved


class ResidualDiscriminator(nn.Module):
    """One logit per image. No normalisation, so that penalties see each image alone.

    Args:
        image_size: height and width: 4, 8, 16, ...
        channels: of the finest block; each coarser one has twice as many, up to ``max_channels``.
        max_channels: limit of the width.
        in_channels: of the images.

    Raises:
        ValueError: ``image_size`` is not 4 times a power of two, or a number is below 1.

    Example:
        >>> import torch
        >>> ResidualDiscriminator(image_size=16)(torch.randn(2, 3, 16, 16)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        channels: int = 32,
        max_channels: int = 256,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_positive(channels=channels, max_channels=max_channels, in_channels=in_channels)
        count = doublings(image_size, 4)
        widths = [min(channels << i, max_channels) for i in range(count + 1)]
        self.first = nn.Conv2d(in_channels, widths[0], 1)
        self.blocks = nn.Sequential(
            *(_Block(width, following) for width, following in pairwise(widths))
        )
        self.last = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(widths[-1] * 16, 1),
        )

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1"]:
        """Logits of images."""
        logits: Tensor = self.last(self.blocks(F.leaky_relu(self.first(images), 0.2)))
        return logits
