"""A discriminator of patches (pix2pix: Isola et al., CVPR 2017, arXiv:1611.07004)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from losskit.losses.checks import check_positive


class PatchDiscriminator(nn.Module):
    """One logit per patch: convolutions with stride 2, then two with stride 1.

    Args:
        in_channels: of the images; more for conditional ones, such as image and mask.
        channels: of the first layer; doubled by each of the next, up to 8 times.
        layers: number of layers with stride 2: with 3, a logit sees 70 × 70 pixels.
        normalize: spectral normalisation of every layer (SN-PatchGAN) instead of none.
        features: return every layer's output, logits last, for feature matching.

    Raises:
        ValueError: a number is below 1.

    Example:
        >>> import torch
        >>> PatchDiscriminator(layers=2)(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        channels: int = 32,
        layers: int = 3,
        normalize: bool = False,
        features: bool = False,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, channels=channels, layers=layers)
        self.features = features
        widths = [in_channels] + [channels * min(2**i, 8) for i in range(layers + 1)]
        blocks: list[nn.Module] = []
        for index in range(layers + 1):
            stride = 2 if index < layers else 1
            conv = nn.Conv2d(widths[index], widths[index + 1], 4, stride, 1)
            blocks.append(
                nn.Sequential(spectral_norm(conv) if normalize else conv, nn.LeakyReLU(0.2))
            )
        last = nn.Conv2d(widths[-1], 1, 4, 1, 1)
        blocks.append(spectral_norm(last) if normalize else last)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Tensor | list[Tensor]:
        """Logits ``(b, 1, h', w')``; with ``features``, a list that ends with them."""
        outputs = []
        for block in self.blocks:
            images = block(images)
            outputs.append(images)
        return outputs if self.features else images
