"""What this plugin tells losskit: losses and presets, as data. Imports no torch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import LossSpec

api = 1


def _loss(
    name: str,
    module: str,
    summary: str,
    *tags: str,
    example: str,
    paper: str,
    aliases: tuple[str, ...] = (),
) -> LossSpec:
    return LossSpec(
        name,
        f"losskit_gan.{module}:{name}",
        summary=summary,
        tags=tags,
        aliases=aliases,
        example=f"losskit_gan.examples:{example}",
        paper=paper,
    )


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """Adversarial losses and penalties."""
    return [
        _loss(
            "GANLoss",
            "adversarial",
            "one player's adversarial loss: vanilla, lsgan, wgan, logistic, hinge, l1 or smgan",
            "adversarial",
            example="gan_loss",
            paper="Goodfellow et al., NeurIPS 2014, arXiv:1406.2661; the others in gan_loss's docs",
        ),
        _loss(
            "R1GradientPenalty",
            "r1",
            "squared slope of the discriminator at real images",
            "adversarial",
            "penalty",
            example="r1",
            aliases=("R1",),
            paper="Mescheder, Geiger, Nowozin, ICML 2018, arXiv:1801.04406",
        ),
        _loss(
            "R2GradientPenalty",
            "r1",
            "squared slope of the discriminator at generated images",
            "adversarial",
            "penalty",
            example="r2",
            aliases=("R2",),
            paper="Mescheder, Geiger, Nowozin, ICML 2018, arXiv:1801.04406",
        ),
        _loss(
            "GradientPenaltyLoss",
            "gradient_penalty",
            "WGAN-GP: keeps the discriminator's slope at 1 between real and generated images",
            "adversarial",
            "penalty",
            example="gradient_penalty",
            paper="Gulrajani et al., NeurIPS 2017, arXiv:1704.00028",
        ),
        _loss(
            "DiscShiftLoss",
            "disc_shift",
            "mean squared logit: keeps the discriminator's output from drifting",
            "adversarial",
            example="disc_shift",
            paper="Karras et al. (PGGAN), ICLR 2018, arXiv:1710.10196",
        ),
    ]
