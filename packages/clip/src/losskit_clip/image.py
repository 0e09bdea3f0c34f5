"""CLIP image loss: two images through CLIP's eyes (CLIPasso, Vinker et al., SIGGRAPH 2022, arXiv:2202.05822)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.errors import nearest
from losskit.losses.checks import check_layers
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape, reduce
from losskit_clip.tower_loss import TowerLoss
from losskit_clip.towers import Preprocess

Criterion = Literal["cosine", "l1", "mse"]
_CRITERIA = ("cosine", "l1", "mse")


def clip_feature_loss(
    pred: Float[Tensor, " b *shape"],
    target: Float[Tensor, " b *shape"],
    *,
    criterion: Criterion = "cosine",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""The distance of two feature tensors, per sample.

    Args:
        pred: features of any shape; these receive the gradient.
        target: of the same shape; no gradient.
        criterion: ``"cosine"``: $1 - \cos$ of all features as one vector; ``"l1"`` or ``"mse"``: the
            mean over features.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over samples.

    Returns:
        A scalar, or for ``"none"`` one value per sample; 0 where they are equal.

    Raises:
        ValueError: shapes differ, or an option is unknown.

    Example:
        >>> clip_feature_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor(1.)
    """
    check_reduction(reduction)
    _check_criterion(criterion)
    check_same_shape(pred, target)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype).flatten(1), target.detach().to(dtype).flatten(1)
    if criterion == "cosine":
        return reduce(1 - (F.normalize(pred) * F.normalize(target)).sum(-1), reduction)
    difference = pred - target
    error = difference.abs() if criterion == "l1" else difference.square()
    return reduce(error.mean(-1), reduction)


def _check_criterion(criterion: str) -> None:
    if criterion not in _CRITERIA:
        raise ValueError(
            f"criterion must be one of {', '.join(_CRITERIA)}, not {criterion!r}"
            + nearest(str(criterion), _CRITERIA)
        )


class CLIPImageLoss(TowerLoss):
    """Distance of two images in CLIP's embedding, or in layers of its image tower.

    Args:
        layers: layer names with weights. ``"embedding"`` is compared by cosine, always; ResNets have
            ``"stem"``, ``"layer1"`` to ``"layer4"``, transformers ``"block0"``, ``"block1"``, ...
            CLIPasso uses ``{"layer2": 1, "layer3": 1, "embedding": 0.1}`` of RN101, with ``"mse"``.
        criterion: for the layers: ``"mse"``, ``"l1"`` or ``"cosine"``.
        model: an open_clip model by name, or as an object.
        weights: an open_clip tag, a path, or ``"random"``; by default ``"openai"``.
        preprocess: ``"clip"``, ``"styleclip"`` or a hashable callable; see
            `CLIPLoss`.
        data_range: the values that mean black and white.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.
        precision: ``None`` (float32), ``"bf16"`` or ``"fp16"`` for the image tower.
        channels_last: memory format of the image tower.
        compile: run the image tower through ``torch.compile``.

    Raises:
        ValueError: a layer, an option, the model or its weights are unknown.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_clip_image"

    def __init__(
        self,
        *,
        layers: Mapping[str, float] | None = None,
        criterion: Criterion = "mse",
        model: str | nn.Module = "ViT-B-32",
        weights: str | None = None,
        preprocess: Preprocess = "clip",
        data_range: DataRange = 1.0,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        _check_criterion(criterion)
        layers = check_layers({"embedding": 1.0} if layers is None else layers)
        mode = Mode(None, precision, channels_last, compile)
        super().__init__(model, weights, preprocess, data_range, mode, reduction, layers)
        self.layers = layers
        self.criterion: Criterion = criterion

    def components(
        self, pred: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> dict[str, Tensor]:
        """The weighted distance per layer; the loss is their sum.

        Args:
            pred: images in ``data_range``, any size; these receive the gradient.
            target: of the same shape; no gradient, and encoded once while unchanged.

        Returns:
            By layer name a scalar, or for ``"none"`` one value per image.

        Raises:
            ValueError: the shapes differ, or are not ``(b, 3, h, w)``.
            TypeError: an image is no floating-point tensor.
        """
        self.check(pred=pred, target=target)
        found = self.backbone.features(pred)
        wanted = self.backbone.features(target, grad=False)
        return {
            name: weight
            * clip_feature_loss(
                found[name],
                wanted[name],
                criterion="cosine" if name == "embedding" else self.criterion,
                reduction=self.reduction,
            )
            for name, weight in self.layers.items()
        }
