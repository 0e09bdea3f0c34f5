"""Perceptual loss: distance, and style, of a frozen network's features (Johnson et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.checks import check_number
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, reduce
from losskit_perceptual.feature_loss import FeatureLoss
from losskit_perceptual.features import (
    CRITERIA,
    Criterion,
    check_choice,
    check_layer_weights,
    layer_mask,
    per_sample,
)
from losskit_perceptual.networks import vgg
from losskit_perceptual.networks.families import find_recipe
from losskit_perceptual.style import lasting_gram, style_distance

#: The paper's layers: a block's ReLU, the last one of VGG-16.
_PAPER = (2, 2, 3, 3)


def perceptual_distance(
    pred: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    criterion: Criterion = "l1",
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\sum_l w_l \, \mathrm{criterion}(F_l, \hat F_l)$ over layers.

    Args:
        pred: features by layer, ``(b, c, h, w)`` or tokens ``(b, n, c)``.
        target: features by layer; the caller sees to it that they take no gradient.
        weights: by layer; both mappings hold these layers.
        criterion: ``"l1"`` or ``"mse"``: the mean over a layer.
        mask: how much each place of the image counts, ``(b, 1, h, w)``; a layer's mean is then
            weighted by the mask at its size.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; 0 where the features are equal.

    Example:
        >>> import torch
        >>> features = {"relu1_2": torch.ones(2, 4, 8, 8)}
        >>> perceptual_distance(features, {"relu1_2": torch.zeros(2, 4, 8, 8)}, {"relu1_2": 0.5})
        tensor(0.5000)
    """
    total: Tensor | None = None
    for layer, weight in weights.items():
        value = per_sample(
            pred[layer],
            target[layer],
            criterion,
            mask=None if mask is None else layer_mask(mask, pred[layer]),
            whole=reduction == "mean",
        )
        total = value * weight if total is None else total + value * weight
    assert total is not None
    return reduce(total, reduction)


def _default_layers(name: str) -> dict[str, float]:
    depths = vgg.DEPTHS[name.removesuffix("_bn")]
    return {
        f"relu{block}_{min(number, depth)}": 1.0
        for block, (number, depth) in enumerate(zip(_PAPER, depths[:4], strict=True), start=1)
    }


class PerceptualLoss(FeatureLoss):
    r"""Distance and style of features: components ``perceptual`` and ``style``.

    The network is frozen, shared with every other loss that looks through it, and in no
    ``state_dict``. Defaults are MMagic's, whose configs give the same numbers; mind that MMagic's
    ``norm_img=True`` means images in [-1, 1]. Say ``data_range=1`` for images in [0, 1].

    Args:
        layer_weights: weight by layer: VGG layers by index in ``features`` (``"16"``, taken before
            any ReLU that follows) or by name (``"relu3_3"``, ``"conv5_4"``, ``"pool4"``); other
            networks by node or module name. By default, for a VGG, the paper's ReLUs (``relu1_2``,
            ``relu2_2``, ``relu3_3``, ``relu4_3``; in a shallower one its blocks' last), each 1.
        layer_weights_style: the same for style; by default ``layer_weights``.
        vgg_type: ``"vgg11"``, ``"vgg13"``, ``"vgg16"``, ``"vgg19"``, or with ``_bn``.
        use_input_norm: apply the network's own mean and std.
        perceptual_weight: of the component ``perceptual``; 0 leaves it out.
        style_weight: of the component ``style``; 0 leaves it out.
        norm_img: images are in [-1, 1] (true, MMagic's default) or [0, 1].
        weights: of the network: ``"default"`` (ImageNet's), a name the network's library has,
            ``"random"``, ``"random:SEED"`` or a path.
        criterion: ``"l1"`` or ``"mse"``.
        backbone: instead of ``vgg_type`` any other network: a torchvision name (``"resnet50"``),
            ``"timm/NAME"``, ``"efficientnet-lite0"``, another plugin's ``"family/NAME"``, or a
            module.
        data_range: instead of ``norm_img``: 1, 255 or a pair.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only. Its gradients are noisy.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``. On the CPU it changes nothing for a VGG,
            whose backward pass is written by hand there and faster than the compiler's.

    Raises:
        ValueError: an option is unknown or contradicts another, or the network lacks a layer.
        WeightsError: the weights cannot be had.

    References:
        Johnson, Alahi, Fei-Fei, Perceptual Losses for Real-Time Style Transfer and
        Super-Resolution, ECCV 2016, arXiv:1603.08155.
    """

    def __init__(
        self,
        layer_weights: Mapping[Any, float] | None = None,
        *,
        layer_weights_style: Mapping[Any, float] | None = None,
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        perceptual_weight: float = 1.0,
        style_weight: float = 1.0,
        norm_img: bool | None = None,
        weights: str | Path = "default",
        criterion: Criterion = "l1",
        backbone: str | nn.Module | None = None,
        data_range: DataRange | None = None,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_choice("criterion", criterion, CRITERIA)
        if backbone is None:
            check_choice("vgg_type", vgg_type, vgg.NAMES)
        check_number("perceptual_weight", perceptual_weight, least=0)
        check_number("style_weight", style_weight, least=0)
        if not perceptual_weight and not style_weight:
            raise ValueError("perceptual_weight and style_weight are both 0: nothing is left")
        if norm_img is not None and data_range is not None:
            raise ValueError(f"give norm_img={norm_img!r} or data_range={data_range!r}, not both")
        range_argument = "norm_img" if data_range is None else "data_range"
        if data_range is None:
            data_range = (0.0, 1.0) if norm_img is False else (-1.0, 1.0)
        if layer_weights is None:
            layer_weights = _default_layers(vgg_type)
        layer_weights = check_layer_weights("layer_weights", layer_weights)
        if layer_weights_style is None:
            layer_weights_style = layer_weights
        layer_weights_style = check_layer_weights("layer_weights_style", layer_weights_style)
        super().__init__(
            find_recipe(vgg_type if backbone is None else backbone, weights),
            (
                *(layer_weights if perceptual_weight else ()),
                *(layer_weights_style if style_weight else ()),
            ),
            data_range,
            Mode(None, precision, channels_last, compile),
            reduction,
            use_input_norm=use_input_norm,
            range_argument=range_argument,
        )
        self.layer_weights = layer_weights
        self.layer_weights_style = layer_weights_style
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.criterion: Criterion = criterion

    def components(
        self, pred: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted parts, ``perceptual`` and ``style``; those of weight 0 are left out.

        Args:
            pred: an RGB batch ``(b, 3, h, w)`` in the range the loss was told.
            target: of the same shape; gets no gradient. Where ``perceptual_weight`` is 0, it may be of
                another size, or one image, the style of all, as for
                `StyleLoss`.
            mask: how much each place counts, ``(b, 1, h, w)`` in [0, 1]; all places if left out.

        Returns:
            Scalars, or ``(b,)`` for ``reduction="none"``; at least 0, and 0 where the images are
            equal. ``forward`` gives their sum.

        Raises:
            ValueError: shapes do not fit.
            TypeError: an image is no floating point tensor.
        """
        fake, real = self.features(pred, target, mask, unaligned=not self.perceptual_weight)
        parts: dict[str, Tensor] = {}
        if self.perceptual_weight:
            parts["perceptual"] = self.perceptual_weight * perceptual_distance(
                fake,
                real,
                self.layer_weights,
                criterion=self.criterion,
                mask=mask,
                reduction=self.reduction,
            )
        if self.style_weight:
            parts["style"] = self.style_weight * style_distance(
                fake,
                real,
                self.layer_weights_style,
                criterion=self.criterion,
                mask=mask,
                reduction=self.reduction,
                target_gram=lasting_gram,
            )
        return parts
