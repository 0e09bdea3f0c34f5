"""Perceptual, style, structural and frequency losses; everything is imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "DISTS": "losskit_perceptual.dists",
    "FFTLoss": "losskit_perceptual.frequency",
    "FeatureDistance": "losskit_perceptual.normalized_features",
    "FocalFrequencyLoss": "losskit_perceptual.frequency",
    "LDLLoss": "losskit_perceptual.ldl",
    "LPIPS": "losskit_perceptual.lpips",
    "LaplacianPyramidLoss": "losskit_perceptual.pyramid",
    "MSSSIMLoss": "losskit_perceptual.multi_scale",
    "PerceptualLoss": "losskit_perceptual.perceptual",
    "SSIMLoss": "losskit_perceptual.structural",
    "StyleLoss": "losskit_perceptual.style",
    "ContextualLoss": "losskit_perceptual.contextual",
    "TransferalPerceptualLoss": "losskit_perceptual.transferal",
    "artifact_map": "losskit_perceptual.ldl",
    "contextual_loss": "losskit_perceptual.contextual",
    "dists_distance": "losskit_perceptual.dists",
    "feature_distance": "losskit_perceptual.normalized_features",
    "fft_loss": "losskit_perceptual.frequency",
    "find_recipe": "losskit_perceptual.networks.families",
    "focal_frequency_loss": "losskit_perceptual.frequency",
    "gram_matrix": "losskit_perceptual.style",
    "laplacian_pyramid": "losskit_perceptual.pyramid",
    "laplacian_pyramid_loss": "losskit_perceptual.pyramid",
    "ldl_loss": "losskit_perceptual.ldl",
    "ms_ssim": "losskit_perceptual.multi_scale",
    "packaged_file": "losskit_perceptual.networks.packaged",
    "perceptual_distance": "losskit_perceptual.perceptual",
    "ssim": "losskit_perceptual.structural",
    "ssim_map": "losskit_perceptual.ssim_windows",
    "style_distance": "losskit_perceptual.style",
    "transferal_perceptual_loss": "losskit_perceptual.transferal",
}
# Written out: type checkers do not follow a computed list.
__all__ = [
    "DISTS",
    "LPIPS",
    "ContextualLoss",
    "FFTLoss",
    "FeatureDistance",
    "FocalFrequencyLoss",
    "LDLLoss",
    "LaplacianPyramidLoss",
    "MSSSIMLoss",
    "PerceptualLoss",
    "SSIMLoss",
    "StyleLoss",
    "TransferalPerceptualLoss",
    "artifact_map",
    "contextual_loss",
    "dists_distance",
    "feature_distance",
    "fft_loss",
    "find_recipe",
    "focal_frequency_loss",
    "gram_matrix",
    "laplacian_pyramid",
    "laplacian_pyramid_loss",
    "ldl_loss",
    "ms_ssim",
    "packaged_file",
    "perceptual_distance",
    "ssim",
    "ssim_map",
    "style_distance",
    "transferal_perceptual_loss",
]

if TYPE_CHECKING:
    from losskit_perceptual.contextual import ContextualLoss, contextual_loss
    from losskit_perceptual.dists import DISTS, dists_distance
    from losskit_perceptual.frequency import (
        FFTLoss,
        FocalFrequencyLoss,
        fft_loss,
        focal_frequency_loss,
    )
    from losskit_perceptual.ldl import LDLLoss, artifact_map, ldl_loss
    from losskit_perceptual.lpips import LPIPS
    from losskit_perceptual.multi_scale import MSSSIMLoss, ms_ssim
    from losskit_perceptual.networks.families import find_recipe
    from losskit_perceptual.networks.packaged import packaged_file
    from losskit_perceptual.normalized_features import FeatureDistance, feature_distance
    from losskit_perceptual.perceptual import PerceptualLoss, perceptual_distance
    from losskit_perceptual.pyramid import (
        LaplacianPyramidLoss,
        laplacian_pyramid,
        laplacian_pyramid_loss,
    )
    from losskit_perceptual.ssim_windows import ssim_map
    from losskit_perceptual.structural import SSIMLoss, ssim
    from losskit_perceptual.style import StyleLoss, gram_matrix, style_distance
    from losskit_perceptual.transferal import TransferalPerceptualLoss, transferal_perceptual_loss

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
