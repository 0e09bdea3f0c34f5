"""Plugin hooks: losses and presets, as data. Imports no torch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import LossSpec, PresetSpec

api = 1


def _loss(
    name: str,
    module: str,
    summary: str,
    *,
    example: str,
    paper: str,
    aliases: tuple[str, ...] = (),
    penalty: bool = False,
) -> LossSpec:
    return LossSpec(
        name,
        f"losskit_gan.{module}:{name}",
        summary=summary,
        tags=("adversarial", "penalty") if penalty else ("adversarial",),
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
            "adversarial.gan_loss",
            "one player's adversarial loss: vanilla, lsgan, wgan, logistic, hinge, l1 or smgan",
            example="gan_loss",
            paper="Goodfellow et al., NeurIPS 2014, arXiv:1406.2661; the others in gan_loss's docs",
        ),
        _loss(
            "R1GradientPenalty",
            "penalties.r1",
            "squared slope of the discriminator at real images",
            example="r1",
            penalty=True,
            aliases=("R1",),
            paper="Mescheder, Geiger, Nowozin, ICML 2018, arXiv:1801.04406",
        ),
        _loss(
            "R2GradientPenalty",
            "penalties.r1",
            "squared slope of the discriminator at generated images",
            example="r2",
            penalty=True,
            aliases=("R2",),
            paper="Mescheder, Geiger, Nowozin, ICML 2018, arXiv:1801.04406",
        ),
        _loss(
            "GradientPenaltyLoss",
            "penalties.gradient_penalty",
            "WGAN-GP: keeps the discriminator's slope at 1 between real and generated images",
            example="gradient_penalty",
            penalty=True,
            paper="Gulrajani et al., NeurIPS 2017, arXiv:1704.00028",
        ),
        _loss(
            "DiscShiftLoss",
            "adversarial.disc_shift",
            "mean squared logit: keeps the discriminator's output from drifting",
            example="disc_shift",
            paper="Karras et al. (PGGAN), ICLR 2018, arXiv:1710.10196",
        ),
        _loss(
            "GeneratorPathRegularizer",
            "penalties.path_length",
            "StyleGAN2's path length: steps in latent space move images by equal amounts",
            example="path_length",
            penalty=True,
            paper="Karras et al. (StyleGAN2), CVPR 2020, arXiv:1912.04958",
        ),
        _loss(
            "FiniteDifferenceR1",
            "penalties.finite_difference",
            "R1 by finite differences, without a second backward pass",
            example="finite_difference_r1",
            penalty=True,
            paper="Lin et al., ICML 2025, arXiv:2501.08316",
        ),
        _loss(
            "FiniteDifferenceR2",
            "penalties.finite_difference",
            "R2 by finite differences, without a second backward pass",
            example="finite_difference_r2",
            penalty=True,
            paper="Lin et al., ICML 2025, arXiv:2501.08316",
        ),
        _loss(
            "DRAGANPenalty",
            "penalties.dragan",
            "keeps the discriminator's slope at 1 around real images",
            example="dragan",
            penalty=True,
            aliases=("DRAGAN",),
            paper="Kodali et al., 2017, arXiv:1705.07215",
        ),
        _loss(
            "MaxGradientPenalty",
            "penalties.dragan",
            "squared slope of the discriminator at the steepest point of a batch",
            example="max_gradient_penalty",
            penalty=True,
            aliases=("MaxGP",),
            paper="Zhou et al., ICML 2019, arXiv:1902.05687",
        ),
        _loss(
            "RelativisticGANLoss",
            "adversarial.relativistic",
            "judges real and generated images against each other: rpgan, ragan or ralsgan",
            example="relativistic",
            paper="Jolicoeur-Martineau, ICLR 2019, arXiv:1807.00734",
        ),
        _loss(
            "AdvLoss",
            "deblurgan",
            "DeblurGAN-v2's adversarial losses, with pools of past predictions",
            example="adv",
            paper="Kupyn et al. (DeblurGAN-v2), ICCV 2019, arXiv:1908.03826",
        ),
        _loss(
            "FeatureMatchingLoss",
            "adversarial.feature_matching",
            "distance of the discriminator's features of generated and real images",
            example="feature_matching",
            paper="Wang et al. (pix2pixHD), CVPR 2018, arXiv:1711.11585",
        ),
        _loss(
            "LeCamLoss",
            "penalties.lecam",
            "pulls logits to the other kind's moving average, for training on few images",
            example="lecam",
            aliases=("LeCam",),
            paper="Tseng et al., CVPR 2021, arXiv:2104.03310",
        ),
        _loss(
            "ConsistencyLoss",
            "penalties.consistency",
            "CR: equal logits for a real image and its flipped and shifted self",
            example="consistency",
            aliases=("CR",),
            paper="Zhang et al., ICLR 2020, arXiv:1910.12027",
        ),
        _loss(
            "BalancedConsistencyLoss",
            "penalties.consistency",
            "bCR: consistency at real and at generated images",
            example="balanced_consistency",
            aliases=("bCR",),
            paper="Zhao et al., AAAI 2021, arXiv:2002.04724",
        ),
    ]


# By module; a summary names the outputs that a generator and a discriminator alone do not make.
_PRESETS = {
    "unconditional": (
        ("dcgan", "cross-entropy", "Radford et al., ICLR 2016, arXiv:1511.06434"),
        ("lsgan", "least squares", "Mao et al., ICCV 2017, arXiv:1611.04076"),
        (
            "wgan-gp",
            "Wasserstein critic under a gradient penalty",
            "Gulrajani et al., NeurIPS 2017, arXiv:1704.00028",
        ),
        ("pggan", "WGAN-GP with a drift penalty", "Karras et al., ICLR 2018, arXiv:1710.10196"),
        (
            "sngan",
            "hinge loss, for spectrally normalised networks",
            "Miyato et al., ICLR 2018, arXiv:1802.05957",
        ),
        ("biggan", "hinge loss", "Brock et al., ICLR 2019, arXiv:1809.11096"),
        (
            "stylegan2",
            "logistic loss, lazy R1 and path lengths",
            "Karras et al., CVPR 2020, arXiv:1912.04958",
        ),
        ("stylegan3", "logistic loss, lazy R1", "Karras et al., NeurIPS 2021, arXiv:2106.12423"),
        (
            "r3gan",
            "paired relativistic loss with R1 and R2",
            "Huang et al., NeurIPS 2024, arXiv:2501.05441",
        ),
    ),
    "translation": (
        ("pix2pix", "cross-entropy and L1 on pairs", "Isola et al., CVPR 2017, arXiv:1611.07004"),
        (
            "cyclegan",
            "least squares, cycles, identities; you supply real_a, real_b, rec_a, rec_b, id_a, id_b",
            "Zhu et al., ICCV 2017, arXiv:1703.10593",
        ),
    ),
    "restoration": (
        (
            "esrgan",
            "relativistic average GAN, L1, perceptual",
            "Wang et al., ECCVW 2018, arXiv:1809.00219",
        ),
        (
            "real-esrgan",
            "cross-entropy, L1, perceptual over five layers",
            "Wang et al., ICCVW 2021, arXiv:2107.10833",
        ),
        (
            "deblurganv2",
            "relativistic least squares with pools, MSE, perceptual",
            "Kupyn et al., ICCV 2019, arXiv:1908.03826",
        ),
        (
            "dic",
            "faces: cross-entropy, L1, landmarks, LightCNN; you supply heatmaps, target_heatmaps",
            "Ma et al., CVPR 2020, arXiv:2003.13063",
        ),
        (
            "ttsr",
            "with a reference: L1, perceptual, textures; you supply maps, soft_attention, textures",
            "Yang et al., CVPR 2020, arXiv:2006.04139",
        ),
    ),
    "inpainting": (
        (
            "deepfillv1",
            "WGAN-GP inside the hole, drift, L1",
            "Yu et al., CVPR 2018, arXiv:1801.07892",
        ),
        ("deepfillv2", "hinge loss on patches, L1", "Yu et al., ICCV 2019, arXiv:1806.03589"),
        (
            "aot-gan",
            "soft mask-guided loss, L1, perceptual, style",
            "Zeng et al., TVCG 2022, arXiv:2104.01431",
        ),
    ),
}


@hookimpl
def losskit_presets() -> list[PresetSpec]:
    """Published combinations of losses."""
    return [
        PresetSpec(name, f"losskit_gan.presets.{module}:{name.replace('-', '_')}", summary, paper)
        for module, presets in _PRESETS.items()
        for name, summary, paper in presets
    ]
