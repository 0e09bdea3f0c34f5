"""Presets of inpainting; ``mask`` is 1 in the hole, ``fake_imgs`` the composed image."""

from __future__ import annotations

from losskit_gan.presets.terms import (
    Config,
    config,
    disc_shift,
    gan,
    gradient_penalty,
    perceptual,
    pixel,
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
    discriminator is a global and a local one. Train with Adam, lr 1e-4, and 5 discriminator steps per
    generator step as the authors' code does (MMagic: 2).

    Args:
        hole_loss_weight: of L1 in the hole, per hole pixel.
        pixel_loss_weight: of L1 over the whole image.
        gan_loss_weight: of the GAN loss.
        gp_loss_weight: λ = 10.
        disc_shift_weight: of the squared logits.

    References:
        Yu et al., CVPR 2018, arXiv:1801.07892, section 3.2; numbers of MMagic's base_deepfillv1.
    """
    return config(
        gan("wgan", gan_loss_weight),
        disc=[
            gradient_penalty(gp_loss_weight, "pixel", mask="mask"),
            disc_shift(disc_shift_weight, "disc_pred_real"),
        ],
        gen=[
            pixel(hole_loss_weight, name="loss_l1_hole", mask="mask"),
            pixel(pixel_loss_weight, name="loss_l1"),
        ],
    )


def deepfillv2(
    hole_loss_weight: float = 1.0, pixel_loss_weight: float = 1.0, gan_loss_weight: float = 0.1
) -> Config:
    """Hinge loss on patches (SN-PatchGAN) and L1 in the hole and over the whole image.

    Train with Adam, lr 1e-4, betas (0.5, 0.999).

    Args:
        hole_loss_weight: of L1 in the hole, per hole pixel.
        pixel_loss_weight: of L1 over the whole image (MMagic: outside the hole).
        gan_loss_weight: MMagic's 0.1; the paper's is 1.

    References:
        Yu et al., ICCV 2019, arXiv:1806.03589, section 3.3; numbers of MMagic's base_deepfillv2,
        Adam's of the authors' train.py.
    """
    return config(
        gan("hinge", gan_loss_weight),
        gen=[
            pixel(hole_loss_weight, name="loss_l1_hole", mask="mask"),
            pixel(pixel_loss_weight, name="loss_l1"),
        ],
    )


def aot_gan(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 0.1,
    style_loss_weight: float = 250.0,
    gan_loss_weight: float = 0.01,
    weights: str | None = None,
) -> Config:
    """Soft mask-guided loss, L1, and perceptual and style losses of the output and the composition.

    Train with Adam, lr 1e-4, betas (0, 0.9).

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: the paper's 0.1.
        style_loss_weight: the paper's 250.
        gan_loss_weight: the paper's 0.01.
        weights: of the VGG; ``None``: the published ones.

    References:
        Zeng et al., TVCG 2022, arXiv:2104.01431, section 3.4; weights of the authors' option.py (betas
        there (0.5, 0.999)), layers and Adam's numbers of MMagic's aot-gan_smpgan.
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
        gen=[
            pixel(pixel_loss_weight),
            features("fake_imgs", "loss_composed_perceptual"),
            features("pred", "loss_out_perceptual"),
        ],
    )
