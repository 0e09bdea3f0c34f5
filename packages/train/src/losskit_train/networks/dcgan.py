"""A generator in the manner of DCGAN (Radford et al., ICLR 2016, arXiv:1511.06434)."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from losskit.losses.checks import check_positive
from losskit_train.networks.sizes import doublings


class DCGANGenerator(nn.Module):
    """Noise to images through blocks of upsampling and convolution.

    Upsampling and convolution stand where DCGAN has transposed convolutions, whose overlaps draw
    checkerboards. Images are in [-1, 1] (tanh).

    Args:
        image_size: height and width: 4, 8, 16, ...
        latent_dim: length of the noise vectors.
        channels: of the finest block; each coarser one has twice as many, up to ``max_channels``.
        max_channels: limit of the width.
        out_channels: 3 for colour, 1 for grey.

    Raises:
        ValueError: ``image_size`` is not 4 times a power of two, or a number is below 1.

    Example:
        >>> import torch
        >>> DCGANGenerator(image_size=16)(torch.randn(2, 64)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        latent_dim: int = 64,
        channels: int = 32,
        max_channels: int = 256,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, channels=channels, out_channels=out_channels)
        count = doublings(image_size, 4)
        self.latent_dim = latent_dim
        widths = [min(channels << (count - i), max_channels) for i in range(count + 1)]
        self.first = nn.Linear(latent_dim, widths[0] * 16)
        blocks: list[nn.Module] = []
        for width, following in pairwise(widths):
            blocks += [
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(width, following, 3, padding=1),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.Conv2d(widths[-1], out_channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, noise: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Images of noise vectors."""
        images: Tensor = self.last(self.blocks(self.first(noise).view(noise.shape[0], -1, 4, 4)))
        return images
