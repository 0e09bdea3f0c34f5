"""Examples of each loss of this plugin, as named by ``LossSpec.example``."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from losskit.spec import Example


def _discriminator(channels: int = 3) -> nn.Module:
    """Smooth, so that finite differences agree with its derivatives; any image size."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 1, 3, padding=1)
    )


def _images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width)


def gan_loss(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A patch discriminator's logits under the hinge loss."""
    logits = torch.randn(batch, 1, height, width)
    return Example(
        {"gan_type": "hinge"}, {"input": logits, "target_is_real": True}, grad=("input",)
    )


def r1(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A penalty at real images; its gradient is the discriminator's."""
    real = _images(batch, height, width)
    inputs = {"discriminator": _discriminator(), "real_data": real}
    return Example({}, inputs, grad=("discriminator",), frozen=("real_data",))


def r2(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A penalty at generated images."""
    fake = _images(batch, height, width)
    inputs = {"discriminator": _discriminator(), "fake_data": fake}
    return Example({}, inputs, grad=("discriminator",), frozen=("fake_data",))


def gradient_penalty(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A penalty between real and generated images."""
    inputs = {
        "discriminator": _discriminator(),
        "real_data": _images(batch, height, width),
        "fake_data": _images(batch, height, width),
    }
    return Example({}, inputs, grad=("discriminator",), frozen=("real_data", "fake_data"))


def disc_shift(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Logits of real images."""
    return Example({}, {"pred": torch.randn(batch, 1, height, width)}, grad=("pred",))


def path_length(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A generator of MMagic's protocol whose images are a smooth function of its latents."""
    return Example(
        {},
        {"generator": _LatentGenerator(height, width), "num_batches": batch},
        grad=("generator",),
    )


class _LatentGenerator(nn.Module):
    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.mapping = nn.Linear(4, 8)
        self.weight = nn.Parameter(torch.randn(8, 3))

    def forward(
        self, noise: Tensor | None, num_batches: int = 1, return_latents: bool = False
    ) -> dict[str, Tensor] | Tensor:
        noise = self.mapping.weight.new_zeros(num_batches, 4).normal_() if noise is None else noise
        latent = self.mapping(noise).tanh()
        colours = (latent @ self.weight).sin()[:, :, None, None]
        images = colours.expand(-1, -1, *self.size).contiguous()
        return {"fake_img": images, "latent": latent} if return_latents else images


def finite_difference_r1(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """R1 without a second backward pass."""
    return r1(batch, height, width)


def finite_difference_r2(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """R2 without a second backward pass."""
    return r2(batch, height, width)


def dragan(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A penalty around real images."""
    return r1(batch, height, width)


def max_gradient_penalty(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """A penalty at the steepest point between real and generated images."""
    return gradient_penalty(batch, height, width)


def _both_logits(batch: int, height: int, width: int) -> dict[str, Tensor]:
    shape = (batch, 1, height, width)
    return {"real_logits": torch.randn(shape), "fake_logits": torch.randn(shape)}


def relativistic(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Logits of real and of generated images."""
    inputs = _both_logits(batch, height, width)
    return Example({}, inputs, grad=("real_logits", "fake_logits"))


def lecam(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Logits of real and of generated images, against their moving averages."""
    inputs = _both_logits(batch, height, width)
    # Averages that stand still, so that the gradient is the slope from call to call.
    return Example(
        {"decay": 1 - 1e-12, "anchors": (0.5, -0.5)}, inputs, grad=("real_logits", "fake_logits")
    )


def adv(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """DeblurGAN-v2's plain loss, for the generator: its gradient is its slope."""
    inputs = {
        "net": _discriminator(),
        "fake": _images(batch, height, width),
        "real": _images(batch, height, width),
        "model": "generator",
    }
    return Example({"loss_type": "gan"}, inputs, grad=("fake", "net"), frozen=())


def feature_matching(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Features of a discriminator's two layers."""
    fake, real = (
        [torch.randn(batch, 4, height, width), torch.randn(batch, 8, height, width)]
        for _ in range(2)
    )
    return Example({}, {"fake_features": fake, "real_features": real}, grad=("fake_features",))


def consistency(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Real images, flipped and shifted."""
    return replace(r1(batch, height, width), arguments={"shift": 2}, min_size=3)


def balanced_consistency(batch: int = 2, height: int = 16, width: int = 16) -> Example:
    """Real and generated images, flipped and shifted."""
    both = gradient_penalty(batch, height, width)
    return replace(both, arguments={"shift": 2}, min_size=3)
