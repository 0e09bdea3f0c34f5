"""Adversarial losses, regularisers and presets; everything is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "AdvLoss": "losskit_gan.deblurgan",
    "BalancedConsistencyLoss": "losskit_gan.penalties.consistency",
    "ConsistencyLoss": "losskit_gan.penalties.consistency",
    "DRAGANPenalty": "losskit_gan.penalties.dragan",
    "DiscShiftLoss": "losskit_gan.adversarial.disc_shift",
    "FeatureMatchingLoss": "losskit_gan.adversarial.feature_matching",
    "FiniteDifferenceR1": "losskit_gan.penalties.finite_difference",
    "FiniteDifferenceR2": "losskit_gan.penalties.finite_difference",
    "GANLoss": "losskit_gan.adversarial.gan_loss",
    "GANObjective": "losskit_gan.objective",
    "GANWithCustomizedLoss": "losskit_gan.model.customized",
    "GeneratorPathRegularizer": "losskit_gan.penalties.path_length",
    "GradientPenaltyLoss": "losskit_gan.penalties.gradient_penalty",
    "LeCamLoss": "losskit_gan.penalties.lecam",
    "MaxGradientPenalty": "losskit_gan.penalties.dragan",
    "R1GradientPenalty": "losskit_gan.penalties.r1",
    "R2GradientPenalty": "losskit_gan.penalties.r1",
    "RelativisticGANLoss": "losskit_gan.adversarial.relativistic",
    "consistency_loss": "losskit_gan.penalties.consistency",
    "disc_shift_loss": "losskit_gan.adversarial.disc_shift",
    "dragan_penalty": "losskit_gan.penalties.dragan",
    "feature_matching_loss": "losskit_gan.adversarial.feature_matching",
    "finite_difference_penalty": "losskit_gan.penalties.finite_difference",
    "gan_loss": "losskit_gan.adversarial.gan_loss",
    "gradient_penalty_loss": "losskit_gan.penalties.gradient_penalty",
    "hinge_discriminator_loss": "losskit_gan.adversarial.formulas",
    "hinge_generator_loss": "losskit_gan.adversarial.formulas",
    "l1_discriminator_loss": "losskit_gan.adversarial.formulas",
    "l1_generator_loss": "losskit_gan.adversarial.formulas",
    "lecam_penalty": "losskit_gan.penalties.lecam",
    "logistic_discriminator_loss": "losskit_gan.adversarial.formulas",
    "logistic_generator_loss": "losskit_gan.adversarial.formulas",
    "lsgan_discriminator_loss": "losskit_gan.adversarial.formulas",
    "lsgan_generator_loss": "losskit_gan.adversarial.formulas",
    "max_gradient_penalty": "losskit_gan.penalties.dragan",
    "preset_losses": "losskit_gan.presets.sections",
    "r1_penalty": "losskit_gan.penalties.r1",
    "r2_penalty": "losskit_gan.penalties.r1",
    "ragan_discriminator_loss": "losskit_gan.adversarial.relativistic",
    "ragan_generator_loss": "losskit_gan.adversarial.relativistic",
    "ralsgan_discriminator_loss": "losskit_gan.adversarial.relativistic",
    "ralsgan_generator_loss": "losskit_gan.adversarial.relativistic",
    "rpgan_discriminator_loss": "losskit_gan.adversarial.relativistic",
    "rpgan_generator_loss": "losskit_gan.adversarial.relativistic",
    "smgan_discriminator_loss": "losskit_gan.adversarial.formulas",
    "smgan_generator_loss": "losskit_gan.adversarial.formulas",
    "smgan_loss": "losskit_gan.adversarial.smgan",
    "vanilla_discriminator_loss": "losskit_gan.adversarial.formulas",
    "vanilla_generator_loss": "losskit_gan.adversarial.formulas",
    "wgan_discriminator_loss": "losskit_gan.adversarial.formulas",
    "wgan_generator_loss": "losskit_gan.adversarial.formulas",
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
    from losskit_gan.adversarial.disc_shift import DiscShiftLoss, disc_shift_loss
    from losskit_gan.adversarial.feature_matching import FeatureMatchingLoss, feature_matching_loss
    from losskit_gan.adversarial.formulas import (
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
    from losskit_gan.adversarial.gan_loss import GANLoss, gan_loss
    from losskit_gan.adversarial.relativistic import (
        RelativisticGANLoss,
        ragan_discriminator_loss,
        ragan_generator_loss,
        ralsgan_discriminator_loss,
        ralsgan_generator_loss,
        rpgan_discriminator_loss,
        rpgan_generator_loss,
    )
    from losskit_gan.adversarial.smgan import smgan_loss
    from losskit_gan.deblurgan import AdvLoss
    from losskit_gan.model.customized import GANWithCustomizedLoss
    from losskit_gan.objective import GANObjective
    from losskit_gan.penalties.consistency import (
        BalancedConsistencyLoss,
        ConsistencyLoss,
        consistency_loss,
    )
    from losskit_gan.penalties.dragan import (
        DRAGANPenalty,
        MaxGradientPenalty,
        dragan_penalty,
        max_gradient_penalty,
    )
    from losskit_gan.penalties.finite_difference import (
        FiniteDifferenceR1,
        FiniteDifferenceR2,
        finite_difference_penalty,
    )
    from losskit_gan.penalties.gradient_penalty import GradientPenaltyLoss, gradient_penalty_loss
    from losskit_gan.penalties.lecam import LeCamLoss, lecam_penalty
    from losskit_gan.penalties.path_length import GeneratorPathRegularizer
    from losskit_gan.penalties.r1 import (
        R1GradientPenalty,
        R2GradientPenalty,
        r1_penalty,
        r2_penalty,
    )
    from losskit_gan.presets.sections import preset_losses

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
