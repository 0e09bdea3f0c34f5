"""Losses and other parts of the official plugins, for users without them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

#: What official plugins supply, so that an unknown name can be answered with the install that
#: brings it. A test holds it against the plugins themselves.
OFFICIAL_LOSSES: Mapping[str, tuple[str, ...]] = {
    "losskit-gan": (
        "GANLoss",
        "R1GradientPenalty",
        "R2GradientPenalty",
        "GradientPenaltyLoss",
        "DiscShiftLoss",
        "GeneratorPathRegularizer",
        "FiniteDifferenceR1",
        "FiniteDifferenceR2",
        "DRAGANPenalty",
        "MaxGradientPenalty",
        "RelativisticGANLoss",
        "AdvLoss",
        "FeatureMatchingLoss",
        "LeCamLoss",
        "ConsistencyLoss",
        "BalancedConsistencyLoss",
    ),
    "losskit-perceptual": (
        "PerceptualLoss",
        "StyleLoss",
        "LPIPS",
        "FeatureDistance",
        "DISTS",
        "ContextualLoss",
        "TransferalPerceptualLoss",
        "SSIMLoss",
        "MSSSIMLoss",
        "FocalFrequencyLoss",
        "FFTLoss",
        "LaplacianPyramidLoss",
        "LDLLoss",
    ),
    "losskit-clip": ("CLIPLoss", "CLIPDirectionalLoss", "CLIPImageLoss", "CLIPPatchLoss"),
    "losskit-identity": ("FaceIdLoss", "LightCNNFeatureLoss"),
}
