"""Presets of super-resolution and deblurring."""

from __future__ import annotations

from losskit_gan.presets.terms import Config, config, gan, perceptual, pixel


def esrgan(
    pixel_loss_weight: float = 1e-2,
    perceptual_loss_weight: float = 1.0,
    gan_loss_weight: float = 5e-3,
    weights: str | None = None,
) -> Config:
    """Relativistic average GAN, L1, and VGG-19's conv5_4 before its activation.

    The two parts of the GAN loss are added, as in the paper; BasicSR and MMagic halve their sum.
    Images in [0, 1]. Train with Adam, lr 1e-4, betas (0.9, 0.99), from a network trained with L1.

    Args:
        pixel_loss_weight: the paper's η.
        perceptual_loss_weight: of the perceptual loss.
        gan_loss_weight: the paper's λ.
        weights: of the VGG; ``None``: the published ones.

    References:
        Wang et al., ECCVW 2018, arXiv:1809.00219, eq. (3) and section 4.1; layer and weights as in
        BasicSR's train_ESRGAN_x4.yml and MMagic's esrgan_x4c64b23g32 (betas there (0.9, 0.999)).
    """
    return config(
        {"type": "RelativisticGANLoss", "kind": "ragan", "loss_weight": gan_loss_weight},
        gen=[
            pixel(pixel_loss_weight),
            perceptual(
                {"34": 1.0},
                perceptual_weight=perceptual_loss_weight,
                norm_img=False,
                weights=weights,
            ),
        ],
    )


def real_esrgan(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 1.0,
    gan_loss_weight: float = 0.1,
    weights: str | None = None,
) -> Config:
    """Cross-entropy, L1, and five layers of VGG-19 before their activations.

    Images in [0, 1]. Train with Adam, lr 1e-4, betas (0.9, 0.99), from a network trained with L1. The
    authors sharpen the target of L1 and of the perceptual loss; that is the data's business.

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: of the perceptual loss.
        gan_loss_weight: of the GAN loss.
        weights: of the VGG; ``None``: the published ones.

    References:
        Wang et al., ICCVW 2021, arXiv:2107.10833, section 4.1; layers and weights as in the authors'
        train_realesrgan_x4plus.yml.
    """
    layers = {"2": 0.1, "7": 0.1, "16": 1.0, "25": 1.0, "34": 1.0}
    return config(
        gan("vanilla", gan_loss_weight),
        gen=[
            pixel(pixel_loss_weight),
            perceptual(
                layers, perceptual_weight=perceptual_loss_weight, norm_img=False, weights=weights
            ),
        ],
    )


def deblurganv2(
    pixel_loss_weight: float = 0.5,
    perceptual_loss_weight: float = 0.006,
    gan_loss_weight: float = 0.01,
    weights: str | None = None,
) -> Config:
    """Relativistic least squares against pools of predictions, MSE, and VGG-19's conv3_3.

    The paper judges whole images and patches by two discriminators; this is one's. Images in [-1, 1].
    Train with Adam, lr 1e-4, betas (0.5, 0.999).

    Args:
        pixel_loss_weight: the paper's 0.5. The authors' code takes the MSE after ImageNet's
            normalisation, which makes it about five times this one.
        perceptual_loss_weight: the paper's 0.006.
        gan_loss_weight: the paper's 0.01; the authors' config.yaml and MMagic have 0.001.
        weights: of the VGG; ``None``: the published ones.

    References:
        Kupyn et al., ICCV 2019, arXiv:1908.03826, eq. (2); layer 14 and both weights as in the
        authors' models/losses.py, Adam's numbers of MMagic's deblurganv2 configs.
    """
    return config(
        {"type": "AdvLoss", "loss_type": "ragan-ls", "loss_weight": gan_loss_weight},
        gen=[
            pixel(pixel_loss_weight, type="MSELoss"),
            perceptual(
                {"14": 1.0},
                perceptual_weight=perceptual_loss_weight,
                criterion="mse",
                weights=weights,
            ),
        ],
    )


def dic(
    pixel_loss_weight: float = 1.0,
    align_loss_weight: float = 0.1,
    feature_loss_weight: float = 0.1,
    gan_loss_weight: float = 0.005,
    weights: str | None = None,
) -> Config:
    """Faces: cross-entropy, L1, landmark heatmaps, LightCNN features.

    A generator step must also supply ``heatmaps`` and ``target_heatmaps``, which ``losskit gan train``
    does not make: there, ``align_loss_weight: 0``. Images as the LightCNN wants them. Train with 2
    discriminator steps per generator step, Adam, lr 1e-4 and 1e-5, and let the GAN loss ``start``
    after 10,000 steps.

    Args:
        pixel_loss_weight: of L1.
        align_loss_weight: of the heatmaps' MSE.
        feature_loss_weight: of LightCNN features.
        gan_loss_weight: of the GAN loss.
        weights: of the LightCNN; ``None``: the published ones.

    References:
        Ma et al., CVPR 2020, arXiv:2003.13063; weights of the authors' train_DICGAN_CelebA.json, the
        rest of MMagic's dic_gan-x8c48b6.
    """
    feature: Config = {
        "type": "LightCNNFeatureLoss",
        "loss_weight": feature_loss_weight,
        "criterion": "l1",
        "data_info": {"pred": "pred", "target": "target"},
    }
    if weights is not None:
        feature["weights"] = weights
    return config(
        gan("vanilla", gan_loss_weight),
        gen=[
            pixel(pixel_loss_weight),
            pixel(
                align_loss_weight,
                type="MSELoss",
                name="loss_align",
                pred="heatmaps",
                target="target_heatmaps",
            ),
            feature,
        ],
    )


def ttsr(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 1e-2,
    transferal_loss_weight: float = 1e-2,
    gan_loss_weight: float = 1e-3,
    weights: str | None = None,
) -> Config:
    """Super-resolution with a reference: cross-entropy, L1, VGG-19's relu5_1, transferred textures.

    A generator step must also supply ``maps``, ``soft_attention`` and ``textures``, which ``losskit
    gan train`` does not make: there, ``transferal_loss_weight: 0``. Images in [-1, 1]. Train with 2
    discriminator steps per generator step, Adam, lr 1e-4 and 1e-5, and let all losses but L1
    ``start`` after 25,000 steps. The paper's adversarial loss is WGAN-GP; MMagic's is this one.

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: of the perceptual loss.
        transferal_loss_weight: of the textures' distance.
        gan_loss_weight: of the GAN loss.
        weights: of the VGG; ``None``: the published ones.

    References:
        Yang et al., CVPR 2020, arXiv:2006.04139; weights of the authors' train.sh, the rest of
        MMagic's ttsr-gan_x4c64b16.
    """
    keys = ("maps", "soft_attention", "textures")
    return config(
        gan("vanilla", gan_loss_weight),
        gen=[
            pixel(pixel_loss_weight),
            perceptual(
                {"29": 1.0},
                perceptual_weight=perceptual_loss_weight,
                criterion="mse",
                weights=weights,
            ),
            {
                "type": "TransferalPerceptualLoss",
                "loss_weight": transferal_loss_weight,
                "use_attention": False,
                "criterion": "mse",
                "data_info": {key: key for key in keys},
            },
        ],
    )
