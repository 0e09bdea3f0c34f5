"""The terms presets are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from losskit_gan.presets.sources import Config


def config(
    gan_loss: Config,
    training: Config,
    *,
    disc: list[Config | None] | None = None,
    gen: list[Config | None] | None = None,
) -> Config:
    """A preset's config; terms that are ``None`` or weigh 0 are left out."""
    return {
        "gan_loss": gan_loss,
        "disc_auxiliary_loss": _weighing(disc),
        "gen_auxiliary_loss": _weighing(gen),
        **training,
    }


def adam(
    lr: float | None,
    betas: Sequence[float],
    *,
    discriminator_steps: int = 1,
    generator_lr: float | None = None,
    discriminator_lr: float | None = None,
) -> Config:
    """Describe a method's training with Adam, in the keys of a training config."""
    players = {"generator": generator_lr, "discriminator": discriminator_lr}
    return {
        "discriminator_steps": discriminator_steps,
        "optimizer": {
            "type": "Adam",
            **({} if lr is None else {"lr": lr}),
            "betas": list(betas),
            **{player: {"lr": own} for player, own in players.items() if own is not None},
        },
    }


def from_step(start: int) -> Config:
    """The key of a term that counts from a player's ``start``-th update on."""
    return {"start": start} if start else {}


def _weighing(terms: list[Config | None] | None) -> list[Config]:
    return [term for term in terms or [] if term is not None and term.get("loss_weight", 1.0) != 0]


def gan(gan_type: str, weight: float = 1.0, start: int = 0) -> Config:
    """The adversarial loss; its weight is the generator's."""
    return {
        "type": "GANLoss",
        "gan_type": gan_type,
        "loss_weight": weight,
        **from_step(start),
    }


def r1(weight: float, interval: int, norm_mode: str = "HWC") -> Config:
    """R1 at real images, every ``interval`` steps; the weight is that of those steps."""
    return {
        "type": "R1GradientPenalty",
        "loss_weight": weight,
        "interval": interval,
        "norm_mode": norm_mode,
        "data_info": {"discriminator": "disc", "real_data": "real_imgs"},
    }


def gradient_penalty(weight: float, norm_mode: str, *, mask: str | None = None) -> Config:
    """WGAN-GP between real and generated images."""
    routes = {"discriminator": "disc", "real_data": "real_imgs", "fake_data": "fake_imgs"}
    return {
        "type": "GradientPenaltyLoss",
        "loss_weight": weight,
        "norm_mode": norm_mode,
        "data_info": routes if mask is None else {**routes, "mask": mask},
    }


def disc_shift(weight: float, pred: str) -> Config:
    """The squared logits of real or of generated images."""
    name = "loss_disc_shift_fake" if "fake" in pred else "loss_disc_shift"
    return {
        "type": "DiscShiftLoss",
        "loss_weight": weight,
        "loss_name": name,
        "data_info": {"pred": pred},
    }


def pixel(
    weight: float,
    *,
    type: str = "L1Loss",
    name: str | None = None,
    pred: str = "pred",
    target: str = "target",
    mask: str | None = None,
) -> Config:
    """A pixel loss."""
    routes = {"pred": pred, "target": target}
    if mask is not None:
        routes["weight"] = mask
    term: Config = {"type": type, "loss_weight": weight, "data_info": routes}
    return term if name is None else {**term, "loss_name": name}


def perceptual(
    layer_weights: dict[str, float],
    *,
    perceptual_weight: float,
    pred: str = "pred",
    name: str | None = None,
    weights: str | None = None,
    **options: Any,
) -> Config | None:
    """A perceptual loss over VGG-19; nothing where neither of its parts weighs."""
    if not perceptual_weight and not options.get("style_weight"):
        return None
    term: Config = {
        "type": "PerceptualLoss",
        "vgg_type": "vgg19",
        "layer_weights": layer_weights,
        "perceptual_weight": perceptual_weight,
        "style_weight": 0.0,
        **options,
        "data_info": {"pred": pred, "target": "target"},
    }
    if weights is not None:
        term["weights"] = weights
    return term if name is None else {**term, "loss_name": name}
