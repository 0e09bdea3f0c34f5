"""Adversarial losses, regularisers and presets; everything is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.lazy import lazy_exports

_EXPORTS = {
    "AdvLoss": "losskit_gan.adv",
    "BalancedConsistencyLoss": "losskit_gan.consistency",
    "ConsistencyLoss": "losskit_gan.consistency",
    "DRAGANPenalty": "losskit_gan.dragan",
    "DiscShiftLoss": "losskit_gan.disc_shift",
    "FeatureMatchingLoss": "losskit_gan.feature_matching",
    "FiniteDifferenceR1": "losskit_gan.finite_difference",
    "FiniteDifferenceR2": "losskit_gan.finite_difference",
    "GANLoss": "losskit_gan.adversarial",
    "GANObjective": "losskit_gan.objective",
    "GANWithCustomizedLoss": "losskit_gan.model",
    "GeneratorPathRegularizer": "losskit_gan.path_length",
    "GradientPenaltyLoss": "losskit_gan.gradient_penalty",
    "LeCamLoss": "losskit_gan.lecam",
    "MaxGradientPenalty": "losskit_gan.dragan",
    "R1GradientPenalty": "losskit_gan.r1",
    "R2GradientPenalty": "losskit_gan.r1",
    "RelativisticGANLoss": "losskit_gan.relativistic",
    "consistency_loss": "losskit_gan.consistency",
    "disc_shift_loss": "losskit_gan.disc_shift",
    "dragan_penalty": "losskit_gan.dragan",
    "feature_matching_loss": "losskit_gan.feature_matching",
    "finite_difference_penalty": "losskit_gan.finite_difference",
    "gan_loss": "losskit_gan.adversarial",
    "gradient_penalty_loss": "losskit_gan.gradient_penalty",
    "hinge_discriminator_loss": "losskit_gan.players",
    "hinge_generator_loss": "losskit_gan.players",
    "l1_discriminator_loss": "losskit_gan.players",
    "l1_generator_loss": "losskit_gan.players",
    "lecam_penalty": "losskit_gan.lecam",
    "logistic_discriminator_loss": "losskit_gan.players",
    "logistic_generator_loss": "losskit_gan.players",
    "lsgan_discriminator_loss": "losskit_gan.players",
    "lsgan_generator_loss": "losskit_gan.players",
    "max_gradient_penalty": "losskit_gan.dragan",
    "preset_losses": "losskit_gan.presets.parts",
    "r1_penalty": "losskit_gan.r1",
    "r2_penalty": "losskit_gan.r1",
    "ragan_discriminator_loss": "losskit_gan.relativistic",
    "ragan_generator_loss": "losskit_gan.relativistic",
    "ralsgan_discriminator_loss": "losskit_gan.relativistic",
    "ralsgan_generator_loss": "losskit_gan.relativistic",
    "rpgan_discriminator_loss": "losskit_gan.relativistic",
    "rpgan_generator_loss": "losskit_gan.relativistic",
    "smgan_discriminator_loss": "losskit_gan.players",
    "smgan_generator_loss": "losskit_gan.players",
    "smgan_loss": "losskit_gan.smgan",
    "vanilla_discriminator_loss": "losskit_gan.players",
    "vanilla_generator_loss": "losskit_gan.players",
    "wgan_discriminator_loss": "losskit_gan.players",
    "wgan_generator_loss": "losskit_gan.players",
}
# Written out: type checkers do not follow a computed list, and then nothing is exported to them.
__all__ = [
    "AdvLoss",
    "BalancedConsistencyLoss",
    "ConsistencyLoss",
    "DRAGANPenalty",
    "DiscShiftLoss",
    "FeatureMatchingLoss",
    "FiniteDifferenceR1",
    "FiniteDifferenceR2",
    "GANLoss",
    "GANObjective",
    "GANWithCustomizedLoss",
    "GeneratorPathRegularizer",
    "GradientPenaltyLoss",
    "LeCamLoss",
    "MaxGradientPenalty",
    "R1GradientPenalty",
    "R2GradientPenalty",
    "RelativisticGANLoss",
    "consistency_loss",
    "disc_shift_loss",
    "dragan_penalty",
    "feature_matching_loss",
    "finite_difference_penalty",
    "gan_loss",
    "gradient_penalty_loss",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "l1_discriminator_loss",
    "l1_generator_loss",
    "lecam_penalty",
    "logistic_discriminator_loss",
    "logistic_generator_loss",
    "lsgan_discriminator_loss",
    "lsgan_generator_loss",
    "max_gradient_penalty",
    "r1_penalty",
    "r2_penalty",
    "ragan_discriminator_loss",
    "ragan_generator_loss",
    "ralsgan_discriminator_loss",
    "ralsgan_generator_loss",
    "rpgan_discriminator_loss",
    "rpgan_generator_loss",
    "smgan_discriminator_loss",
    "smgan_generator_loss",
    "smgan_loss",
    "vanilla_discriminator_loss",
    "vanilla_generator_loss",
    "wgan_discriminator_loss",
    "wgan_generator_loss",
]

if TYPE_CHECKING:
    from losskit_gan.adv import AdvLoss
    from losskit_gan.adversarial import GANLoss, gan_loss
    from losskit_gan.consistency import BalancedConsistencyLoss, ConsistencyLoss, consistency_loss
    from losskit_gan.disc_shift import DiscShiftLoss, disc_shift_loss
    from losskit_gan.dragan import (
        DRAGANPenalty,
        MaxGradientPenalty,
        dragan_penalty,
        max_gradient_penalty,
    )
    from losskit_gan.feature_matching import FeatureMatchingLoss, feature_matching_loss
    from losskit_gan.finite_difference import (
        FiniteDifferenceR1,
        FiniteDifferenceR2,
        finite_difference_penalty,
    )
    from losskit_gan.gradient_penalty import GradientPenaltyLoss, gradient_penalty_loss
    from losskit_gan.lecam import LeCamLoss, lecam_penalty
    from losskit_gan.model import GANWithCustomizedLoss
    from losskit_gan.objective import GANObjective
    from losskit_gan.path_length import GeneratorPathRegularizer
    from losskit_gan.players import (
        hinge_discriminator_loss,
        hinge_generator_loss,
        l1_discriminator_loss,
        l1_generator_loss,
        logistic_discriminator_loss,
        logistic_generator_loss,
        lsgan_discriminator_loss,
        lsgan_generator_loss,
        smgan_discriminator_loss,
        smgan_generator_loss,
        vanilla_discriminator_loss,
        vanilla_generator_loss,
        wgan_discriminator_loss,
        wgan_generator_loss,
    )
    from losskit_gan.presets.parts import preset_losses
    from losskit_gan.r1 import R1GradientPenalty, R2GradientPenalty, r1_penalty, r2_penalty
    from losskit_gan.relativistic import (
        RelativisticGANLoss,
        ragan_discriminator_loss,
        ragan_generator_loss,
        ralsgan_discriminator_loss,
        ralsgan_generator_loss,
        rpgan_discriminator_loss,
        rpgan_generator_loss,
    )
    from losskit_gan.smgan import smgan_loss

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
