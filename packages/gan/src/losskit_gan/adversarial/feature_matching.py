"""Feature matching: the generator imitates real images inside the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from losskit.errors import nearest
from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction, per_sample, reduce

Features: TypeAlias = Sequence[Tensor] | Sequence[Sequence[Tensor]]
Criterion: TypeAlias = Literal["l1", "mse"]
_CRITERIA = ("l1", "mse")


def feature_matching_loss(
    fake_features: Features,
    real_features: Features,
    *,
    mask: Tensor | None = None,
    criterion: Criterion = "l1",
    skip_last: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The distance between the discriminator's features of generated and of paired real images.

    Averaged over elements, over layers and over scales; pix2pixHD's code multiplies by 4 / (layers
    + 1) per scale instead of averaging, so its λ = 10 is another weight here. Real features are
    detached.

    Args:
        fake_features: a list of tensors ``(b, c, h, w)``, or one list per scale, as
            multi-scale discriminators return them.
        real_features: the same for real images.
        mask: 1 in the hole, ``(b, 1, H, W)``. As in LaMa, features count **outside** it: the mask
            is resized to each layer (bilinear), and a layer's distance is weighted by 1 - mask. It
            is divided by the weights' sum, which LaMa's code leaves out, so that large holes do
            not weaken it.
        criterion: ``"l1"`` (pix2pixHD) or ``"mse"`` (LaMa).
        skip_last: leave out each scale's last tensor, where that is the logits.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``. With a mask the mean counts
            samples by what they show outside of it, the others count each alike.

    Returns:
        A scalar ≥ 0, or for ``"none"`` one value a sample; 0 for equal features.

    Raises:
        TypeError: a features argument is not a list of tensors.
        ValueError: the two have different layers, or an option is unknown.

    Example:
        >>> ones = [torch.ones(1, 2, 4, 4)]
        >>> feature_matching_loss(ones, [3 * ones[0]])
        tensor(2.)

    References:
        T.-C. Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with
        Conditional GANs", CVPR 2018, eq. (4), arXiv:1711.11585; R. Suvorov et al., "LaMa",
        WACV 2022, section 2.3, arXiv:2109.07161.
    """
    _check_criterion(criterion)
    check_reduction(reduction)
    whole = reduction == "mean"
    fakes, reals = _scales(fake_features, "fake_features"), _scales(real_features, "real_features")
    if [len(f) for f in fakes] != [len(r) for r in reals]:
        raise ValueError(
            "fake_features and real_features must have the same layers, not "
            f"{[len(f) for f in fakes]} and {[len(r) for r in reals]}"
        )
    scales = []
    for fake, real in zip(fakes, reals, strict=True):
        pairs = list(zip(fake, real, strict=True))[: -1 if skip_last else None]
        if not pairs:
            raise ValueError("skip_last leaves no features: the discriminator returns logits only")
        layers = [_layer(f, r, mask, criterion, whole=whole) for f, r in pairs]
        scales.append(torch.stack(layers).mean(0))
    return reduce(torch.stack(scales).mean(0), reduction)


def _layer(
    fake: Tensor, real: Tensor, mask: Tensor | None, criterion: Criterion, *, whole: bool
) -> Tensor:
    """The distance of one layer, of the ``whole`` batch or one value a sample."""
    if fake.shape != real.shape:
        raise ValueError(
            "features must have one shape, not "
            f"{tuple(fake.shape)} (fake) and {tuple(real.shape)} (real)"
        )
    # Distances of half-precision features are taken in float32.
    dtype = torch.promote_types(fake.dtype, torch.float32)
    difference = fake.to(dtype) - real.detach().to(dtype)
    distance = difference.abs() if criterion == "l1" else difference.square()
    if mask is None or distance.ndim != 4:
        return distance.mean() if whole else per_sample(distance)
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be a tensor or None, not {type(mask).__name__}")
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, len(fake)):
        raise ValueError(f"mask must be (b, 1, h, w), not {tuple(mask.shape)}")
    small = F.interpolate(mask.to(dtype), size=fake.shape[2:], mode="bilinear", align_corners=False)
    outside = (1 - small).expand_as(distance)
    if whole:
        return (distance * outside).sum() / outside.sum().clamp_min(1e-12)
    return per_sample(distance * outside) / per_sample(outside).clamp_min(1e-12)


def _scales(features: Features, name: str) -> list[list[Tensor]]:
    if isinstance(features, Tensor) or not isinstance(features, (list, tuple)) or not features:
        raise TypeError(
            f"{name} must be a list of tensors, or one list per scale, not "
            f"{type(features).__name__}: let the discriminator return its features"
        )
    nested = not isinstance(features[0], Tensor)
    if any(isinstance(scale, Tensor) == nested for scale in features):
        raise TypeError(f"{name} must hold either tensors or one list per scale, not both")
    scales = [list(scale) for scale in features] if nested else [list(features)]
    for scale in scales:
        for feature in scale:
            if not isinstance(feature, Tensor):
                raise TypeError(f"{name} must hold tensors, not {type(feature).__name__}")
    return scales


def _check_criterion(criterion: str) -> None:
    if criterion not in _CRITERIA:
        raise ValueError(
            f"criterion must be one of {', '.join(_CRITERIA)}, not {criterion!r}"
            + nearest(str(criterion), _CRITERIA)
        )


class FeatureMatchingLoss(Loss):
    """Distance of discriminator features; see `feature_matching_loss`.

    Args:
        criterion: ``"l1"`` or ``"mse"``.
        skip_last: leave out each scale's last tensor, where that is the logits.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``criterion`` or ``reduction`` is unknown.
    """

    loss_name: ClassVar[str | None] = "loss_feature_matching"

    def __init__(
        self,
        *,
        criterion: Criterion = "l1",
        skip_last: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_criterion(criterion)
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.criterion: Criterion = criterion
        self.skip_last = skip_last

    def forward(
        self, fake_features: Features, real_features: Features, mask: Tensor | None = None
    ) -> Tensor:
        """The loss; arguments as of `feature_matching_loss`."""
        return feature_matching_loss(
            fake_features,
            real_features,
            mask=mask,
            criterion=self.criterion,
            skip_last=self.skip_last,
            reduction=self.reduction,
        )
