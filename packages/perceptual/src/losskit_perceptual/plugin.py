"""Plugin hooks: what this package supplies; imports no torch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import BackboneSpec, LossSpec

api = 1

_EXAMPLES = "losskit_perceptual.examples"
_NETWORKS = "losskit_perceptual.networks"
_FAMILIES = f"{_NETWORKS}.families"


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """Losses over frozen networks, and structural, frequency and pyramid losses."""
    return [*_network_losses(), *_classic_losses()]


def _network_losses() -> list[LossSpec]:
    deep = ("perceptual", "image", "network")
    return [
        LossSpec(
            "PerceptualLoss",
            "losskit_perceptual.perceptual:PerceptualLoss",
            "Distance and style of any frozen network's features; takes a mask.",
            tags=(*deep, "style"),
            example=f"{_EXAMPLES}:perceptual",
            paper="Johnson et al., Perceptual Losses, ECCV 2016, arXiv:1603.08155",
        ),
        LossSpec(
            "StyleLoss",
            "losskit_perceptual.style:StyleLoss",
            "Difference of Gram matrices: how an image is painted, wherever things are.",
            tags=(*deep, "style"),
            example=f"{_EXAMPLES}:style",
            paper="Gatys et al., Image Style Transfer, CVPR 2016, doi:10.1109/CVPR.2016.265",
        ),
        LossSpec(
            "LPIPS",
            "losskit_perceptual.lpips:LPIPS",
            "Learned perceptual image patch similarity; images in [0, 1] by default.",
            tags=deep,
            aliases=("LPIPSLoss",),
            example=f"{_EXAMPLES}:lpips",
            paper="Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018, "
            "arXiv:1801.03924",
        ),
        LossSpec(
            "FeatureDistance",
            "losskit_perceptual.normalized_features:FeatureDistance",
            "LPIPS's distance over any network, uncalibrated.",
            tags=deep,
            example=f"{_EXAMPLES}:feature_distance",
            paper="Zhang et al., The Unreasonable Effectiveness of Deep Features, CVPR 2018, "
            "arXiv:1801.03924",
        ),
        LossSpec(
            "DISTS",
            "losskit_perceptual.dists:DISTS",
            "Structure and texture of VGG features; tolerant of texture.",
            tags=deep,
            aliases=("DISTSLoss",),
            example=f"{_EXAMPLES}:dists",
            paper="Ding et al., Image Quality Assessment: DISTS, TPAMI 2020, arXiv:2004.07728",
        ),
        LossSpec(
            "ContextualLoss",
            "losskit_perceptual.contextual:ContextualLoss",
            "For pairs that are not aligned: does every target feature find one like it? CoBi too.",
            tags=deep,
            example=f"{_EXAMPLES}:contextual",
            paper="Mechrez et al., The Contextual Loss, ECCV 2018, arXiv:1803.02077",
        ),
        LossSpec(
            "TransferalPerceptualLoss",
            "losskit_perceptual.transferal:TransferalPerceptualLoss",
            "TTSR's distance of transferred textures, weighted by attention.",
            tags=("perceptual", "features"),
            example=f"{_EXAMPLES}:transferal",
            paper="Yang et al., TTSR, CVPR 2020, arXiv:2006.04139",
        ),
    ]


def _classic_losses() -> list[LossSpec]:
    return [
        LossSpec(
            "SSIMLoss",
            "losskit_perceptual.structural:SSIMLoss",
            "One minus structural similarity.",
            tags=("perceptual", "structural", "image"),
            example=f"{_EXAMPLES}:ssim",
            paper="Wang et al., Image Quality Assessment, TIP 2004, doi:10.1109/TIP.2003.819861",
        ),
        LossSpec(
            "MSSSIMLoss",
            "losskit_perceptual.multi_scale:MSSSIMLoss",
            "One minus structural similarity over several scales.",
            tags=("perceptual", "structural", "image"),
            example=f"{_EXAMPLES}:ms_ssim",
            paper="Wang et al., Multiscale Structural Similarity, Asilomar 2003, "
            "doi:10.1109/ACSSC.2003.1292216",
        ),
        LossSpec(
            "FocalFrequencyLoss",
            "losskit_perceptual.frequency:FocalFrequencyLoss",
            "Squared difference of spectra, hard frequencies first.",
            tags=("frequency", "image"),
            example=f"{_EXAMPLES}:focal_frequency",
            paper="Jiang et al., Focal Frequency Loss, ICCV 2021, arXiv:2012.12821",
        ),
        LossSpec(
            "FFTLoss",
            "losskit_perceptual.frequency:FFTLoss",
            "Mean absolute difference of spectra.",
            tags=("frequency", "image"),
            example=f"{_EXAMPLES}:pair",
            paper="Cho et al., MIMO-UNet, ICCV 2021, arXiv:2108.05054",
        ),
        LossSpec(
            "LaplacianPyramidLoss",
            "losskit_perceptual.pyramid:LaplacianPyramidLoss",
            "Mean absolute difference at each scale of a Laplacian pyramid.",
            tags=("frequency", "image"),
            example=f"{_EXAMPLES}:pyramid",
            paper="Bojanowski et al., Optimizing the Latent Space (GLO), ICML 2018, arXiv:1707.05776",
        ),
        LossSpec(
            "LDLLoss",
            "losskit_perceptual.ldl:LDLLoss",
            "L1 where local variance gives GAN artefacts away.",
            tags=("perceptual", "image"),
            aliases=("LDL",),
            example=f"{_EXAMPLES}:ldl",
            paper="Liang et al., Details or Artifacts, CVPR 2022, arXiv:2203.09195",
        ),
    ]


@hookimpl
def losskit_backbones() -> list[BackboneSpec]:
    """Networks that any loss over features may look through."""
    return [
        BackboneSpec(
            "torchvision",
            f"{_FAMILIES}:torchvision_recipe",
            "torchvision's networks",
            files=f"{_NETWORKS}.pretrained:file_of",
            known=f"{_NETWORKS}.pretrained:names",
            networks=("vgg19", "vgg16", "alexnet"),
        ),
        BackboneSpec(
            "timm",
            f"{_FAMILIES}:timm_recipe",
            "timm's networks, token models too",
            files=f"{_FAMILIES}:timm_file",
            known=f"{_FAMILIES}:timm_names",
        ),
        BackboneSpec(
            "packaged",
            f"{_NETWORKS}.packaged:packaged_recipe",
            "real ImageNet networks that a package ships (efficientnet-lite0)",
            packaged=("efficientnet-lite0",),
            files=f"{_NETWORKS}.packaged:file_of",
            networks=("efficientnet-lite0",),
            known=f"{_NETWORKS}.packaged:names",
        ),
        BackboneSpec(
            "torchmetrics",
            summary="LPIPS's heads and DISTS's weights, which torchmetrics ships",
            files=f"{_NETWORKS}.shipped:file_of",
            networks=("lpips-alex", "dists"),
            known=f"{_NETWORKS}.shipped:names",
        ),
    ]
