"""How to try each loss of this plugin: what ``LossSpec.example`` names."""

from __future__ import annotations

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
