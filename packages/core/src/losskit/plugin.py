"""The core's own losses, through the hook that everybody uses."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import LossSpec

api = 1

_PAIR = "losskit.losses.examples:pair"
_COMPOSITION = "losskit.losses.examples:composition"
_MATTING = "Xu et al., Deep Image Matting, CVPR 2017, arXiv:1703.03872"
_CHARBONNIER = "Charbonnier et al., ICIP 1994, doi:10.1109/ICIP.1994.413553"


@hookimpl
def losskit_losses() -> list[LossSpec]:
    """Pixel losses."""
    pixel = ("pixel", "image")
    return [
        LossSpec(
            "L1Loss",
            "losskit.losses.pixel:L1Loss",
            "Mean absolute difference; takes a mask.",
            tags=pixel,
            example=_PAIR,
            paper="Zhao et al., Loss Functions for Image Restoration, TCI 2017, arXiv:1511.08861",
        ),
        LossSpec(
            "MSELoss",
            "losskit.losses.pixel:MSELoss",
            "Mean squared difference; takes a mask.",
            tags=pixel,
            example=_PAIR,
            aliases=("L2Loss",),
            paper="Dong et al., SRCNN, TPAMI 2016, arXiv:1501.00092",
        ),
        LossSpec(
            "HuberLoss",
            "losskit.losses.pixel:HuberLoss",
            "Quadratic near zero, linear beyond delta.",
            tags=pixel,
            example=_PAIR,
            paper="Huber, Annals of Mathematical Statistics 1964, doi:10.1214/aoms/1177703732",
        ),
        LossSpec(
            "CharbonnierLoss",
            "losskit.losses.pixel:CharbonnierLoss",
            "A differentiable L1, sqrt(d² + eps); takes a mask.",
            tags=pixel,
            example=_PAIR,
            paper=_CHARBONNIER,
        ),
        LossSpec(
            "MaskedTVLoss",
            "losskit.losses.tv:MaskedTVLoss",
            "Total variation under a mask: means of neighbouring steps.",
            tags=("pixel", "regulariser"),
            example="losskit.losses.examples:total_variation",
            paper="Liu et al., Partial Convolutions, ECCV 2018, arXiv:1804.07723",
        ),
        LossSpec(
            "PSNRLoss",
            "losskit.losses.psnr:PSNRLoss",
            "Negative peak signal-to-noise ratio in decibels, for images in [0, 1].",
            tags=pixel,
            example=_PAIR,
            paper="Chu et al., TLC, ECCV 2022, arXiv:2112.04491",
        ),
        LossSpec(
            "GradientLoss",
            "losskit.losses.gradient:GradientLoss",
            "L1 between Sobel gradients; takes a mask.",
            tags=pixel,
            example=_PAIR,
            paper="Tang et al., Learning-based Sampling for Natural Image Matting, CVPR 2019",
        ),
        LossSpec(
            "L1CompositionLoss",
            "losskit.losses.composition:L1CompositionLoss",
            "L1 of the image composed with a predicted matte.",
            tags=("matting",),
            example=_COMPOSITION,
            paper=_MATTING,
        ),
        LossSpec(
            "MSECompositionLoss",
            "losskit.losses.composition:MSECompositionLoss",
            "Squared error of the image composed with a predicted matte.",
            tags=("matting",),
            example=_COMPOSITION,
            paper=_MATTING,
        ),
        LossSpec(
            "CharbonnierCompLoss",
            "losskit.losses.composition:CharbonnierCompLoss",
            "Charbonnier distance of the image composed with a predicted matte.",
            tags=("matting",),
            example=_COMPOSITION,
            paper=_MATTING,
        ),
    ]
