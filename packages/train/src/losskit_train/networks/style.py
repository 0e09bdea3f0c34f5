"""A style-based generator: a small StyleGAN2 (Karras et al., CVPR 2020, arXiv:1912.04958)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.losses.checks import check_positive
from losskit_train.networks.sizes import doublings


class _ModulatedConv(nn.Module):
    """A convolution whose input channels a style scales; outputs are brought to unit variance."""

    def __init__(self, width: int, following: int, style_dim: int, kernel: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(following, width, kernel, kernel))
        self.scale = (width * kernel**2) ** -0.5  # equalised learning rate
        self.bias = nn.Parameter(torch.zeros(following))
        self.style = nn.Linear(style_dim, width)
        nn.init.normal_(self.style.weight, std=style_dim**-0.5)
        nn.init.ones_(self.style.bias)

    def forward(self, x: Tensor, code: Tensor, demodulate: bool = True) -> Tensor:
        style = self.style(code)
        weight = self.weight * self.scale
        # Scaling the input and the output is the same as scaling the weights, without a grouped
        # convolution per sample.
        x = F.conv2d(x * style[:, :, None, None], weight, padding="same")
        if demodulate:
            x = x * _unit_norm(style, weight)[:, :, None, None].to(x.dtype)
        return x + self.bias[:, None, None]


def _unit_norm(style: Tensor, weight: Tensor) -> Tensor:
    """One over the norm of each modulated output channel's weights: ``(b, following)``."""
    # Never in half precision, where squares overflow and the 1e-8 is 0.
    with torch.autocast(style.device.type, enabled=False):
        precise = torch.promote_types(weight.dtype, torch.float32)
        squares = weight.to(precise).square().sum((2, 3))  # (following, width)
        return torch.rsqrt(style.to(squares).square() @ squares.T + 1e-8)


class _Block(nn.Module):
    def __init__(self, width: int, following: int, style_dim: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _ModulatedConv(width, following, style_dim)
        self.conv2 = _ModulatedConv(following, following, style_dim)
        self.to_image = _ModulatedConv(following, out_channels, style_dim, kernel=1)
        self.noise_strength = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, codes: Tensor, image: Tensor | None) -> tuple[Tensor, Tensor]:
        for index, conv in enumerate((self.conv1, self.conv2)):
            x = conv(x, codes[:, index])
            noise = torch.randn_like(x[:, :1]) if self.training else 0.0
            x = F.leaky_relu(x + self.noise_strength[index] * noise, 0.2) * 2**0.5
        own = self.to_image(x, codes[:, 1], demodulate=False)
        return x, own if image is None else image + own


class StyleGenerator(nn.Module):
    """Noise to a latent code, and the code to images through modulated convolutions.

    It follows MMagic's protocol, which the path length regulariser uses:
    ``generator(None, num_batches=n, return_latents=True)`` gives ``{"fake_img", "latent"}``, with
    one latent per layer. A plain call gives images, about in [-1, 1].

    Args:
        image_size: height and width: 4, 8, 16, ...
        latent_dim: length of noise and latents.
        channels: of the finest block; each coarser one has twice as many, up to ``max_channels``.
        max_channels: limit of the width.
        out_channels: 3 for colour, 1 for grey.
        mapping_layers: depth of the mapping network.

    Raises:
        ValueError: ``image_size`` is not 4 times a power of two, or a number is below 1.

    Example:
        >>> generator = StyleGenerator(image_size=8)
        >>> made = generator(None, num_batches=2, return_latents=True)
        >>> made["fake_img"].shape, made["latent"].shape
        (torch.Size([2, 3, 8, 8]), torch.Size([2, 4, 64]))
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        latent_dim: int = 64,
        channels: int = 32,
        max_channels: int = 256,
        out_channels: int = 3,
        mapping_layers: int = 4,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, channels=channels, out_channels=out_channels)
        count = doublings(image_size, 4)
        self.latent_dim = latent_dim
        layers: list[nn.Module] = []
        for _ in range(mapping_layers):
            linear = nn.Linear(latent_dim, latent_dim)
            # torch's own start would shrink the noise layer by layer, until all images are one.
            nn.init.kaiming_normal_(linear.weight, a=0.2)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.LeakyReLU(0.2)]
        self.mapping = nn.Sequential(*layers)
        widths = [min(channels << (count - i), max_channels) for i in range(count + 1)]
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.blocks = nn.ModuleList(
            _Block(widths[max(i - 1, 0)], widths[i], latent_dim, out_channels)
            for i in range(count + 1)
        )

    def forward(
        self,
        noise: Float[Tensor, "b d"] | None = None,
        num_batches: int = 1,
        return_latents: bool = False,
    ) -> Float[Tensor, "b c h w"] | dict[str, Tensor]:
        """Images of noise vectors, which are drawn if not given.

        Args:
            noise: ``(b, latent_dim)``.
            num_batches: how many to draw without ``noise``.
            return_latents: also give the latents, ``(b, layers, latent_dim)``.
        """
        if noise is None:
            shape = (num_batches, self.latent_dim)
            noise = torch.randn(shape, device=self.constant.device, dtype=self.constant.dtype)
        noise = F.normalize(noise.float(), dim=1).to(noise.dtype) * self.latent_dim**0.5
        codes = self.mapping(noise)[:, None].expand(-1, 2 * len(self.blocks), -1)
        codes = codes.contiguous()  # the latents' own memory, so that each layer has a gradient
        images = self.synthesize(codes)
        return {"fake_img": images, "latent": codes} if return_latents else images

    def synthesize(self, latents: Float[Tensor, "b layers d"]) -> Float[Tensor, "b c h w"]:
        """Images of latents, such as ones interpolated between two."""
        x = self.constant.expand(latents.shape[0], -1, -1, -1)
        image: Tensor | None = None
        for index, block in enumerate(self.blocks):
            if index:
                x, image = (_double(y) for y in (x, image))
            x, image = block(x, latents[:, 2 * index : 2 * index + 2], image)
        assert image is not None
        return image


def _double(x: Tensor | None) -> Tensor:
    assert x is not None
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
