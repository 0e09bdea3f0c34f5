"""Contextual similarity of features, with memory linear in their number (Mechrez et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.checks import check_floating, check_maps, check_number
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_perceptual.feature_loss import FeatureLoss
from losskit_perceptual.features import check_layer_weights
from losskit_perceptual.networks.families import find_recipe

_EPS = 1e-5  # of the paper's relative distance, equation 2
# A feature at the target's mean has no direction; below this length it is not scaled to 1 either, so
# that its gradient stays bounded. Centred features of EfficientNet-Lite0 are 0.6 to 34 long.
_LEAST_LENGTH = 1e-3
DISTANCES = ("cosine", "l1", "l2")


def contextual_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "#b c i j"],
    *,
    bandwidth: float = 0.5,
    distance: str = "cosine",
    spatial_weight: float = 0.0,
    chunk_size: int = 1024,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$-\log\,\mathrm{mean}_j \max_i CX_{ij}$: does every target feature find one like it?

    $d_{ij}$ is normalised by the smallest of its row, $w_{ij} = e^{(1 - \tilde d_{ij})/h}$, and
    $CX_{ij} = w_{ij} / \sum_k w_{ik}$. Positions do not matter, unless ``spatial_weight`` is positive:
    then $CX$ is mixed with that of the positions (the contextual bilateral loss, CoBi).

    Rows are computed in chunks and again in the backward pass, so that memory grows with the number
    of features, not with its square.

    Args:
        pred: features in any range, a network's layer or image patches.
        target: with as many channels, of any size, and of pred's batch or one sample for all; gets no
            gradient. The paper samples as many features of each; here $i$ runs over pred's, $j$ over
            target's.
        bandwidth: $h > 0$; the paper's is 0.5 for style transfer and 0.1 for super-resolution.
        distance: ``"cosine"`` (centred by the target's mean, the paper's), ``"l1"`` or ``"l2"``
            (squared).
        spatial_weight: of positions, in [0, 1], as shares of each one's sides; CoBi's is 0.1.
        chunk_size: rows at once; smaller needs less memory.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; near 0 where they are equal and their features distinct.

    Raises:
        ValueError: shapes are not 4-D, batches or channels differ, or an option is out of range.
        TypeError: one of them is not floating point.

    References:
        Mechrez, Talmi, Zelnik-Manor, The Contextual Loss for Image Transformation with Non-Aligned
        Data, ECCV 2018, arXiv:1803.02077, equations 2 to 5; Zhang et al., Zoom to Learn, Learn to
        Zoom, CVPR 2019, arXiv:1905.05169, equation 4 (there mixed before the normalisation; here,
        as in its public implementations, after).
    """
    check_reduction(reduction)
    for name, maps in (("pred", pred), ("target", target)):
        check_floating(name, maps)
        check_maps(name, maps)
        if maps.numel() == 0:
            raise ValueError(f"{name} must hold at least one element, not {tuple(maps.shape)}")
    if target.shape[0] not in (1, pred.shape[0]) or target.shape[1] != pred.shape[1]:
        raise ValueError(
            "target must have pred's channels, and its batch or 1, not "
            f"{tuple(target.shape)} for {tuple(pred.shape)}"
        )
    check_options(bandwidth, distance, spatial_weight, chunk_size)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    with torch.autocast(pred.device.type, enabled=False):
        rows, columns = _prepared(pred.to(dtype), target.detach().to(dtype), distance)
        grids = (_positions(pred, dtype), _positions(target, dtype)) if spatial_weight else None
        best = _best_matches(rows, columns, grids, bandwidth, distance, spatial_weight, chunk_size)
        return reduce(-torch.log((best.mean(1) + _EPS).clamp_max(1.0)), reduction)


def check_options(bandwidth: float, distance: str, spatial_weight: float, chunk_size: int) -> None:
    """Raise ValueError where an option is out of range."""
    check_number("bandwidth", bandwidth, above=0)
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, not {distance!r}")
    if not 0 <= spatial_weight <= 1:
        raise ValueError(f"spatial_weight must be in [0, 1], not {spatial_weight!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size!r}")


def _prepared(pred: Tensor, target: Tensor, distance: str) -> tuple[Tensor, Tensor]:
    """Features as ``(b, n, c)``, centred and on the unit sphere for the cosine."""
    rows, columns = (x.flatten(2).transpose(1, 2) for x in (pred, target))
    if distance == "cosine":
        mean = columns.mean(1, keepdim=True)  # of each sample: others must not matter to it
        rows, columns = (F.normalize(x - mean, dim=2, eps=_LEAST_LENGTH) for x in (rows, columns))
    return rows, columns


def _positions(image: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixel positions in [0, 1], ``(1, n, 2)``."""
    h, w = image.shape[2:]
    ys = torch.arange(h, device=image.device, dtype=dtype) / (h + 1)
    xs = torch.arange(w, device=image.device, dtype=dtype) / (w + 1)
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1).view(1, h * w, 2)


def _distances(rows: Tensor, columns: Tensor, distance: str) -> Tensor:
    if distance == "cosine":
        return (1 - rows @ columns.transpose(1, 2)).clamp_min(0)
    if distance == "l1":
        return torch.cdist(rows, columns, p=1)
    squares = rows.square().sum(2, keepdim=True) + columns.square().sum(2).unsqueeze(1)
    return (squares - 2 * rows @ columns.transpose(1, 2)).clamp_min(0)


def _similarity(distances: Tensor, bandwidth: float) -> Tensor:
    relative = distances / (distances.amin(2, keepdim=True) + _EPS)
    # A softmax: exp((1 - d)/h) over its row's sum, without overflow.
    return torch.softmax((1 - relative) / bandwidth, dim=2)


def _best_matches(
    rows: Tensor,
    columns: Tensor,
    grids: tuple[Tensor, Tensor] | None,
    bandwidth: float,
    distance: str,
    spatial_weight: float,
    chunk_size: int,
) -> Tensor:
    """For each target feature its best row's similarity, ``(b, n)``."""

    def chunk_best(chunk: Tensor, columns: Tensor, places: Tensor | None) -> Tensor:
        similarity = _similarity(_distances(chunk, columns, distance), bandwidth)
        if places is not None and grids is not None:
            near = _similarity(_distances(places, grids[1], "l2"), bandwidth)
            similarity = (1 - spatial_weight) * similarity + spatial_weight * near
        return similarity.amax(1)

    best: Tensor | None = None
    several = rows.shape[1] > chunk_size and rows.requires_grad
    for start in range(0, rows.shape[1], chunk_size):
        chunk = rows[:, start : start + chunk_size]
        places = None if grids is None else grids[0][:, start : start + chunk_size]
        if several:
            found: Tensor = checkpoint(chunk_best, chunk, columns, places, use_reentrant=False)
        else:
            found = chunk_best(chunk, columns, places)
        best = found if best is None else torch.maximum(best, found)
    assert best is not None
    return best


class ContextualLoss(FeatureLoss):
    """Contextual loss over a frozen network's layers: for pairs that are not aligned.

    Args:
        layer_weights: weight by layer, which must give maps, or tokens if positions do not count; by
            default a VGG's ``relu3_4``.
        backbone: as for `PerceptualLoss`.
        weights: of the network: ``"default"``, ``"random"``, ``"random:SEED"``, or a path.
        bandwidth: as for `contextual_loss`.
        distance: ``"cosine"``, ``"l1"`` or ``"l2"``.
        spatial_weight: how much positions count; CoBi's is 0.1.
        chunk_size: rows at once; smaller needs less memory.
        data_range: the images' range: 1, 255 or a pair.
        use_input_norm: apply the network's own mean and std.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: an option is out of range, or the network lacks a layer.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        layer_weights: Mapping[Any, float] | None = None,
        *,
        backbone: str | nn.Module = "vgg19",
        weights: str | Path = "default",
        bandwidth: float = 0.5,
        distance: str = "cosine",
        spatial_weight: float = 0.0,
        chunk_size: int = 1024,
        data_range: DataRange = 1.0,
        use_input_norm: bool = True,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_options(bandwidth, distance, spatial_weight, chunk_size)
        if layer_weights is None:
            layer_weights = {"relu3_4": 1.0}
        layer_weights = check_layer_weights("layer_weights", layer_weights)
        recipe, mode = find_recipe(backbone, weights), Mode(None, precision, channels_last, compile)
        super().__init__(
            recipe, layer_weights, data_range, mode, reduction, use_input_norm=use_input_norm
        )
        self.layer_weights = layer_weights
        self.bandwidth = bandwidth
        self.distance = distance
        self.spatial_weight = spatial_weight
        self.chunk_size = chunk_size

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare images.

        Args:
            pred: an RGB batch ``(b, 3, h, w)`` in ``data_range``.
            target: ``(b, 3, h', w')``, or one image ``(1, 3, h', w')`` for all; of any size that the
                network takes. Gets no gradient.

        Returns:
            A scalar, or ``(b,)`` for ``reduction="none"``; at least 0, and 0 where they are equal.

        Raises:
            ValueError: shapes do not fit.
            TypeError: an image is no floating point tensor.
        """
        fake, real = self.features(pred, target, unaligned=True)
        values = [
            weight
            * contextual_loss(
                self._maps(layer, fake),
                self._maps(layer, real),
                bandwidth=self.bandwidth,
                distance=self.distance,
                spatial_weight=self.spatial_weight,
                chunk_size=self.chunk_size,
                reduction=self.reduction,
            )
            for layer, weight in self.layer_weights.items()
        ]
        return torch.stack(values).sum(0)

    def _maps(self, layer: str, features: Mapping[str, Tensor]) -> Tensor:
        """A layer's features; tokens as one column, which the plain form reads in any order."""
        found = features[layer]
        if found.ndim != 3:
            return found
        if self.spatial_weight:
            raise ValueError(
                f"spatial_weight={self.spatial_weight!r} needs maps, and layer {layer!r} gives "
                "tokens: leave it at 0"
            )
        return found.transpose(1, 2).unsqueeze(3)
