"""MMagic's model classes: what their training makes of the losses that a config names.

Names only, as in ``compat``. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Task = Literal["generation", "super-resolution", "inpainting", "paired"]

_DISCRIMINATOR = {"discriminator": "disc", "real_data": "real_imgs"}
_FAKE = {**_DISCRIMINATOR, "fake_data": "fake_imgs"}

#: Losses whose arguments have other names than a training step's outputs: where theirs come from.
ROUTES: Mapping[str, Mapping[str, str]] = {
    "DiscShiftLoss": {"pred": "disc_pred_real"},
    "GeneratorPathRegularizer": {"generator": "gen", "num_batches": "batch_size"},
    "GradientPenaltyLoss": _FAKE,
    "R1GradientPenalty": _DISCRIMINATOR,
}

#: The same for keys of MMagic's inpainting models, which hand their losses a mask.
KEY_ROUTES: Mapping[str, Mapping[str, str]] = {
    "loss_composed_percep": {"pred": "fake_imgs", "target": "target"},
    "loss_gp": {**_FAKE, "mask": "mask"},
    "loss_l1_hole": {"pred": "pred", "target": "target", "weight": "mask"},
    "loss_tv": {"pred": "fake_imgs", "mask": "mask"},
}

#: Keys under which a model has its adversarial loss, and its discriminator's other losses.
GAN_KEYS = ("gan_loss", "loss_gan", "disc_loss", "gan_opt")
DISC_KEYS = ("disc_auxiliary_loss", "loss_gp", "loss_disc_shift")
DISC_TYPES = ("DiscShiftLoss", "GradientPenaltyLoss", "R1GradientPenalty")

#: Losses that read what two networks and a batch do not have, and what that is.
UNPLACED: Mapping[str, str] = {
    "align_loss": "heatmaps that the generator makes",
    "cleaning_loss": "the cleaned input inside the generator",
    "lq_pixel_loss": "the aligned frames inside the generator",
    "transferal_perceptual_loss": "textures, maps and attention of a texture transformer",
}


@dataclass(frozen=True, slots=True)
class ModelClass:
    """A model class.

    Args:
        task: of the training config's data.
        preset: our preset of the same method.
        in_class: whether its losses stand in the class, which ``loss_config`` only adjusts.
        options: ours of its options of ``loss_config``, where the names differ.
        defaults: options of ``loss_config`` where the class's defaults are not the preset's.
        relativistic: whether it judges real and generated images against each other.
        composed: whether it also counts the perceptual loss of an inpainted image put together.
        notes: what else it does that has no counterpart.
    """

    task: Task = "generation"
    preset: str | None = None
    in_class: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    relativistic: bool = False
    composed: bool = True
    notes: tuple[str, ...] = ()


def _in_class(preset: str, *notes: str, task: Task = "generation", **defaults: Any) -> ModelClass:
    return ModelClass(task, preset, True, defaults=defaults, notes=notes)


_EQUALISED = (
    "the learning rates are those of the model's networks, whose layers are equalised; the networks "
    "here want about a tenth"
)
_LABELS = "class labels are given to neither network here"
_TWO_STAGES = (
    "the model counts losses for the outputs of two stages; the generator here has one output"
)
_LOCAL = "the model's discriminator also judges the region around the hole by itself"
_FRAMES = ModelClass(
    "super-resolution", notes=("the model restores sequences of frames; here single images",)
)
_BETWEEN = ModelClass(
    "super-resolution", notes=("the model makes the frame between two; here one image from one",)
)

MODEL_CLASSES: Mapping[str, ModelClass] = {
    "BigGAN": _in_class("biggan", _LABELS),
    "CycleGAN": _in_class(
        "cyclegan",
        "`losskit train` has one generator, so that nothing makes rec_a, rec_b, id_a and id_b: "
        "give the preset to a GANObjective in a loop with two, or set loss_config's weights to 0",
        task="paired",
    ),
    "DCGAN": _in_class("dcgan"),
    "GGAN": _in_class("biggan"),  # hinge loss
    "LSGAN": _in_class("lsgan"),
    "MSPIEStyleGAN2": _in_class(
        "stylegan2",
        "the model trains at several sizes; here it is one",
        _EQUALISED,
        norm_mode="pixel",
    ),
    "PGGAN": _in_class(
        "pggan", "the model grows while it trains; here it has one size", _EQUALISED
    ),
    "Pix2Pix": _in_class(
        "pix2pix",
        "the model's discriminator judges an image beside its input; here the image alone",
        task="paired",
    ),
    "SAGAN": _in_class("biggan", _LABELS),  # hinge loss
    "SNGAN": _in_class("sngan", _LABELS),
    "StyleGAN2": _in_class("stylegan2", _EQUALISED, norm_mode="pixel"),
    "StyleGAN3": _in_class("stylegan3", _EQUALISED, norm_mode="pixel", r1_loss_weight=80.0),
    "WGANGP": ModelClass(
        preset="wgan-gp",
        in_class=True,
        options={"norm_mode": "gp_norm_mode", "loss_weight": "gp_loss_weight"},
        notes=(
            "MMagic's WGANGP reads norm_mode and loss_weight of loss_config, and ignores gp_norm_mode "
            "and gp_loss_weight, which its own configs have: they count here",
        ),
    ),
    "SRGAN": ModelClass("super-resolution"),
    "ESRGAN": ModelClass("super-resolution", "esrgan", relativistic=True),
    "RealESRGAN": ModelClass("super-resolution", "real-esrgan"),
    "RealBasicVSR": _FRAMES,
    "BasicVSR": _FRAMES,
    "EDVR": _FRAMES,
    "TDAN": _FRAMES,
    "BasicInterpolator": _BETWEEN,
    "CAIN": _BETWEEN,
    "DIC": ModelClass(
        "super-resolution", "dic", notes=("the model counts L1 at each of its passes; here once",)
    ),
    "TTSR": ModelClass("super-resolution", "ttsr"),
    "DeblurGanV2": ModelClass("paired", "deblurganv2"),
    "DeepFillv1Inpaintor": ModelClass("inpainting", "deepfillv1", notes=(_TWO_STAGES, _LOCAL)),
    "TwoStageInpaintor": ModelClass("inpainting", "deepfillv2", notes=(_TWO_STAGES,)),
    "GLInpaintor": ModelClass("inpainting", notes=(_LOCAL,)),
    "AOTInpaintor": ModelClass("inpainting", "aot-gan", composed=False),
    "OneStageInpaintor": ModelClass("inpainting"),
}
_ALIASES = {"ProgressiveGrowingGAN": "PGGAN"}


def model_class(name: str | None) -> ModelClass | None:
    """Look up what is known of a model class, by its name without a scope."""
    return MODEL_CLASSES.get(_ALIASES.get(name or "", name or ""))
