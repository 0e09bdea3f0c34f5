"""Presets of inpainting; ``mask`` is 1 in the hole, ``fake_imgs`` the composed image."""

from __future__ import annotations

from losskit_gan.presets.sources import Config, Source, from_sources
from losskit_gan.presets.terms import (
    adam,
    config,
    disc_shift,
    gan,
    gradient_penalty,
    perceptual,
    pixel,
)

_DEEPFILL = "authors' {} (github.com/JiahuiYu/generative_inpainting)"
_AOT_GAN = "authors' {} (github.com/researchmm/AOT-GAN-for-Inpainting)"


@from_sources(
    Source(
        "gan_loss GradientPenaltyLoss.loss_weight loss_disc_shift loss_l1_hole loss_l1 optimizer",
        "MMagic's base_deepfillv1",
        note="betas are Adam's defaults. The authors' inpaint.yml, in a copy of version 1: GAN 0.001, "
        "L1 1.2, penalty 10, no drift",
    ),
    Source(
        "discriminator_steps",
        "MMagic's deepfillv1_8xb2_places-256x256",
        note="deepfillv1_4xb4_celeba-256x256: 2",
    ),
)
def deepfillv1(
    hole_loss_weight: float = 1.0,
    pixel_loss_weight: float = 1.0,
    gan_loss_weight: float = 1e-4,
    gp_loss_weight: float = 10.0,
    disc_shift_weight: float = 0.001,
) -> Config:
    """WGAN with a penalty inside the hole, drift, and L1 in the hole and over the whole image.

    MMagic's second L1 is outside the hole only, which needs an inverted mask; and its
    discriminator is a global and a local one.

    Args:
        hole_loss_weight: of L1 in the hole, per hole pixel.
        pixel_loss_weight: of L1 over the whole image.
        gan_loss_weight: of the GAN loss.
        gp_loss_weight: λ = 10.
        disc_shift_weight: of the squared logits.

    References:
        Yu et al., CVPR 2018, arXiv:1801.07892, section 3.2.
    """
    return config(
        gan("wgan", gan_loss_weight),
        adam(1e-4, (0.9, 0.999), discriminator_steps=5),
        disc=[
            gradient_penalty(gp_loss_weight, "pixel", mask="mask"),
            disc_shift(disc_shift_weight, "disc_pred_real"),
        ],
        gen=[
            pixel(hole_loss_weight, name="loss_l1_hole", mask="mask"),
            pixel(pixel_loss_weight, name="loss_l1"),
        ],
    )


@from_sources(
    Source(
        "gan_loss loss_l1_hole loss_l1",
        "MMagic's base_deepfillv2",
        note="the authors' inpaint.yml: GAN 1, L1 1 over the whole image",
    ),
    Source(
        "optimizer discriminator_steps",
        _DEEPFILL.format("train.py"),
        note="MMagic's deepfillv2 configs: betas (0.9, 0.999), one step too",
    ),
)
def deepfillv2(
    hole_loss_weight: float = 1.0, pixel_loss_weight: float = 1.0, gan_loss_weight: float = 0.1
) -> Config:
    """Hinge loss on patches (SN-PatchGAN) and L1 in the hole and over the whole image.

    Args:
        hole_loss_weight: of L1 in the hole, per hole pixel.
        pixel_loss_weight: of L1 over the whole image (MMagic: outside the hole).
        gan_loss_weight: MMagic's 0.1; the paper's is 1.

    References:
        Yu et al., ICCV 2019, arXiv:1806.03589, section 3.3.
    """
    return config(
        gan("hinge", gan_loss_weight),
        adam(1e-4, (0.5, 0.999)),
        gen=[
            pixel(hole_loss_weight, name="loss_l1_hole", mask="mask"),
            pixel(pixel_loss_weight, name="loss_l1"),
        ],
    )


@from_sources(
    Source(
        "gan_loss L1Loss loss_composed_perceptual.perceptual_weight "
        "loss_composed_perceptual.style_weight loss_out_perceptual.perceptual_weight "
        "loss_out_perceptual.style_weight",
        _AOT_GAN.format("src/utils/option.py"),
        note="for the output alone; MMagic's aot-gan_smpgan_4xb4_places-512x512 counts the composed "
        "image too, as here",
    ),
    Source(
        "loss_composed_perceptual.layer_weights loss_composed_perceptual.layer_weights_style "
        "loss_out_perceptual.layer_weights loss_out_perceptual.layer_weights_style",
        _AOT_GAN.format("src/loss/loss.py"),
        note="relu1_1 to relu5_1; style: relu2_2, relu3_4, relu4_4, relu5_2",
    ),
    Source(
        "optimizer discriminator_steps",
        "MMagic's aot-gan_smpgan_4xb4_places-512x512",
        note="the authors' option.py: betas (0.5, 0.999)",
    ),
)
def aot_gan(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 0.1,
    style_loss_weight: float = 250.0,
    gan_loss_weight: float = 0.01,
    weights: str | None = None,
) -> Config:
    """Soft mask-guided loss, L1, and perceptual and style losses of the output and the composition.

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: the paper's 0.1.
        style_loss_weight: the paper's 250.
        gan_loss_weight: the paper's 0.01.
        weights: of the VGG; ``None``: the published ones.

    References:
        Zeng et al., TVCG 2022, arXiv:2104.01431, section 3.4.
    """
    layers = dict.fromkeys(("1", "6", "11", "20", "29"), 1.0)
    style = dict.fromkeys(("8", "17", "26", "31"), 1.0)

    def features(pred: str, name: str) -> Config | None:
        return perceptual(
            layers,
            layer_weights_style=style,
            perceptual_weight=perceptual_loss_weight,
            style_weight=style_loss_weight,
            pred=pred,
            name=name,
            weights=weights,
        )

    return config(
        gan("smgan", gan_loss_weight),
        adam(1e-4, (0.0, 0.9)),
        gen=[
            pixel(pixel_loss_weight),
            features("fake_imgs", "loss_composed_perceptual"),
            features("pred", "loss_out_perceptual"),
        ],
    )
