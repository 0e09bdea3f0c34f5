"""Adversarial losses, regularisers and presets; everything is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "DiscShiftLoss": "losskit_gan.disc_shift",
    "GANLoss": "losskit_gan.adversarial",
    "GradientPenaltyLoss": "losskit_gan.gradient_penalty",
    "R1GradientPenalty": "losskit_gan.r1",
    "R2GradientPenalty": "losskit_gan.r1",
    "disc_shift_loss": "losskit_gan.disc_shift",
    "gan_loss": "losskit_gan.adversarial",
    "gradient_penalty_loss": "losskit_gan.gradient_penalty",
    "hinge_discriminator_loss": "losskit_gan.players",
    "hinge_generator_loss": "losskit_gan.players",
    "l1_discriminator_loss": "losskit_gan.players",
    "l1_generator_loss": "losskit_gan.players",
    "logistic_discriminator_loss": "losskit_gan.players",
    "logistic_generator_loss": "losskit_gan.players",
    "lsgan_discriminator_loss": "losskit_gan.players",
    "lsgan_generator_loss": "losskit_gan.players",
    "r1_penalty": "losskit_gan.r1",
    "r2_penalty": "losskit_gan.r1",
    "vanilla_discriminator_loss": "losskit_gan.players",
    "vanilla_generator_loss": "losskit_gan.players",
    "wgan_discriminator_loss": "losskit_gan.players",
    "wgan_generator_loss": "losskit_gan.players",
}
__all__ = sorted(_EXPORTS)  # noqa: PLE0605

if TYPE_CHECKING:
    from losskit_gan.adversarial import GANLoss, gan_loss
    from losskit_gan.disc_shift import DiscShiftLoss, disc_shift_loss
    from losskit_gan.gradient_penalty import GradientPenaltyLoss, gradient_penalty_loss
    from losskit_gan.r1 import R1GradientPenalty, R2GradientPenalty, r1_penalty, r2_penalty


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'losskit_gan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
