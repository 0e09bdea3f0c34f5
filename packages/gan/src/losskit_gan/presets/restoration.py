"""Presets of super-resolution and deblurring."""

from __future__ import annotations

from losskit_gan.presets.sources import Config, Source, from_sources
from losskit_gan.presets.terms import adam, config, from_step, gan, perceptual, pixel

_DEBLUR = "authors' {} (github.com/VITA-Group/DeblurGANv2)"
_DIC = "MMagic's dic_gan-x8c48b6_4xb2-500k_celeba-hq"
_TTSR = "MMagic's ttsr-gan_x4c64b16_1xb9-500k_CUFED"


@from_sources(
    Source(
        "gan_loss L1Loss PerceptualLoss optimizer discriminator_steps",
        "authors' train_ESRGAN_x4.yml (github.com/XPixelGroup/BasicSR)",
        note="it begins from a generator trained with L1, halves lr four times, and halves the GAN "
        "loss's two parts, as MMagic does; MMagic's esrgan_x4c64b23g32: betas (0.9, 0.999)",
    ),
)
def esrgan(
    pixel_loss_weight: float = 1e-2,
    perceptual_loss_weight: float = 1.0,
    gan_loss_weight: float = 5e-3,
    weights: str | None = None,
) -> Config:
    """Relativistic average GAN, L1, and VGG-19's conv5_4 before its activation.

    The two parts of the GAN loss are added, as in the paper; BasicSR and MMagic halve their sum.
    Images in [0, 1]. Begin from a network trained with L1.

    Args:
        pixel_loss_weight: the paper's η.
        perceptual_loss_weight: of the perceptual loss.
        gan_loss_weight: the paper's λ.
        weights: of the VGG; ``None``: the published ones.

    References:
        Wang et al., ECCVW 2018, arXiv:1809.00219, eq. (3) and section 4.1.
    """
    return config(
        {"type": "RelativisticGANLoss", "kind": "ragan", "loss_weight": gan_loss_weight},
        adam(1e-4, (0.9, 0.99)),
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


@from_sources(
    Source(
        "gan_loss L1Loss PerceptualLoss optimizer discriminator_steps",
        "authors' train_realesrgan_x4plus.yml (github.com/xinntao/Real-ESRGAN)",
        note="it begins from a generator trained with L1",
    ),
)
def real_esrgan(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 1.0,
    gan_loss_weight: float = 0.1,
    weights: str | None = None,
) -> Config:
    """Cross-entropy, L1, and five layers of VGG-19 before their activations.

    Images in [0, 1]. Begin from a network trained with L1. The authors sharpen the target of L1 and
    of the perceptual loss; that is the data's business.

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: of the perceptual loss.
        gan_loss_weight: of the GAN loss.
        weights: of the VGG; ``None``: the published ones.

    References:
        Wang et al., ICCVW 2021, arXiv:2107.10833, section 4.1.
    """
    layers = {"2": 0.1, "7": 0.1, "16": 1.0, "25": 1.0, "34": 1.0}
    return config(
        gan("vanilla", gan_loss_weight),
        adam(1e-4, (0.9, 0.99)),
        gen=[
            pixel(pixel_loss_weight),
            perceptual(
                layers, perceptual_weight=perceptual_loss_weight, norm_img=False, weights=weights
            ),
        ],
    )


@from_sources(
    Source(
        "gan_loss",
        "Kupyn et al., eq. (2)",
        "second hand",
        "quoted in issue 102 of github.com/VITA-Group/DeblurGANv2; the authors' config.yaml and "
        "MMagic have 0.001",
    ),
    Source("MSELoss PerceptualLoss", _DEBLUR.format("models/losses.py"), "in a copy"),
    Source(
        "optimizer discriminator_steps",
        _DEBLUR.format("config/config.yaml and train.py"),
        note="betas are Adam's defaults; it freezes the backbone for 3 epochs and lets lr fall from "
        "epoch 50. MMagic's deblurganv2 configs: betas (0.5, 0.999)",
    ),
)
def deblurganv2(
    pixel_loss_weight: float = 0.5,
    perceptual_loss_weight: float = 0.006,
    gan_loss_weight: float = 0.01,
    weights: str | None = None,
) -> Config:
    """Relativistic least squares against pools of predictions, MSE, and VGG-19's conv3_3.

    The paper judges whole images and patches by two discriminators; this is one's. Images in [-1, 1].

    Args:
        pixel_loss_weight: the paper's 0.5. The authors' code takes the MSE after ImageNet's
            normalisation, which makes it about five times this one.
        perceptual_loss_weight: the paper's 0.006.
        gan_loss_weight: the paper's 0.01; the authors' config.yaml and MMagic have 0.001.
        weights: of the VGG; ``None``: the published ones.

    References:
        Kupyn et al., ICCV 2019, arXiv:1908.03826, eq. (2).
    """
    return config(
        {"type": "AdvLoss", "loss_type": "ragan-ls", "loss_weight": gan_loss_weight},
        adam(1e-4, (0.9, 0.999)),
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


@from_sources(
    Source(
        "gan_loss.loss_weight L1Loss loss_align LightCNNFeatureLoss.loss_weight",
        "authors' train_DICGAN_CelebA.json (github.com/Maclory/Deep-Iterative-Collaboration)",
        note=f"{_DIC} has the same",
    ),
    Source(
        "gan_loss.start LightCNNFeatureLoss.start",
        _DIC,
        note="counted in each player's updates, MMagic's in steps; the authors' config begins from a "
        "generator trained without instead",
    ),
    Source(
        "optimizer discriminator_steps",
        _DIC,
        note="betas are Adam's defaults; it halves lr every 100,000 steps. The authors: one step, lr "
        "1e-4 for both",
    ),
)
def dic(
    pixel_loss_weight: float = 1.0,
    align_loss_weight: float = 0.1,
    feature_loss_weight: float = 0.1,
    gan_loss_weight: float = 0.005,
    pixel_init: int = 10_000,
    weights: str | None = None,
) -> Config:
    """Faces: cross-entropy, L1, landmark heatmaps, LightCNN features.

    A generator step must also supply ``heatmaps`` and ``target_heatmaps``, which ``losskit train``
    does not make: there, ``align_loss_weight: 0``. Images as the LightCNN wants them.

    Args:
        pixel_loss_weight: of L1.
        align_loss_weight: of the heatmaps' MSE.
        feature_loss_weight: of LightCNN features.
        gan_loss_weight: of the GAN loss.
        pixel_init: updates of a player before the GAN loss and the features count.
        weights: of the LightCNN; ``None``: the published ones.

    References:
        Ma et al., CVPR 2020, arXiv:2003.13063.
    """
    feature: Config = {
        "type": "LightCNNFeatureLoss",
        "loss_weight": feature_loss_weight,
        "criterion": "l1",
        **from_step(pixel_init),
        "data_info": {"pred": "pred", "target": "target"},
    }
    if weights is not None:
        feature["weights"] = weights
    return config(
        gan("vanilla", gan_loss_weight, start=pixel_init),
        adam(None, (0.9, 0.999), discriminator_steps=2, generator_lr=1e-4, discriminator_lr=1e-5),
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


@from_sources(
    Source(
        "gan_loss.loss_weight L1Loss PerceptualLoss.perceptual_weight "
        "TransferalPerceptualLoss.loss_weight",
        "authors' train.sh (github.com/researchmm/TTSR)",
        note=f"for a WGAN-GP loss; {_TTSR} has the same for this one",
    ),
    Source("PerceptualLoss.layer_weights PerceptualLoss.style_weight", _TTSR),
    Source(
        "gan_loss.start PerceptualLoss.start TransferalPerceptualLoss.start",
        _TTSR,
        note="counted in each player's updates, MMagic's in steps; the authors: 2 epochs",
    ),
    Source(
        "optimizer discriminator_steps",
        _TTSR,
        note="it halves lr every 100,000 steps. The authors' option.py and loss.py: two steps, lr "
        "1e-4 for both, the discriminator's betas (0, 0.9)",
    ),
)
def ttsr(
    pixel_loss_weight: float = 1.0,
    perceptual_loss_weight: float = 1e-2,
    transferal_loss_weight: float = 1e-2,
    gan_loss_weight: float = 1e-3,
    pixel_init: int = 25_000,
    weights: str | None = None,
) -> Config:
    """Super-resolution with a reference: cross-entropy, L1, VGG-19's relu5_1, transferred textures.

    A generator step must also supply ``maps``, ``soft_attention`` and ``textures``, which ``losskit
    train`` does not make: there, ``transferal_loss_weight: 0``. Images in [-1, 1]. The paper's
    adversarial loss is WGAN-GP; MMagic's is this one.

    Args:
        pixel_loss_weight: of L1.
        perceptual_loss_weight: of the perceptual loss.
        transferal_loss_weight: of the textures' distance.
        gan_loss_weight: of the GAN loss.
        pixel_init: updates of a player before all losses but L1 count.
        weights: of the VGG; ``None``: the published ones.

    References:
        Yang et al., CVPR 2020, arXiv:2006.04139.
    """
    keys = ("maps", "soft_attention", "textures")
    return config(
        gan("vanilla", gan_loss_weight, start=pixel_init),
        adam(None, (0.9, 0.999), discriminator_steps=2, generator_lr=1e-4, discriminator_lr=1e-5),
        gen=[
            pixel(pixel_loss_weight),
            perceptual(
                {"29": 1.0},
                perceptual_weight=perceptual_loss_weight,
                criterion="mse",
                weights=weights,
                **from_step(pixel_init),
            ),
            {
                "type": "TransferalPerceptualLoss",
                "loss_weight": transferal_loss_weight,
                "use_attention": False,
                "criterion": "mse",
                **from_step(pixel_init),
                "data_info": {key: key for key in keys},
            },
        ],
    )
