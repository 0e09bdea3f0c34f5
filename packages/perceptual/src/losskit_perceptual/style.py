"""Style: the correlations of a layer's channels (Gatys et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from losskit.backbones.trunk import Mode, Precision
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, reduce
from losskit_perceptual.autograd import only_autograd
from losskit_perceptual.feature_loss import FeatureLoss
from losskit_perceptual.features import (
    CRITERIA,
    Criterion,
    check_choice,
    check_layer_weights,
    layer_mask,
    per_sample,
)
from losskit_perceptual.networks.families import find_recipe

GramNorm: TypeAlias = Literal["chw", "hw", "none"]
_NORMS = ("chw", "hw", "none")


def gram_matrix(
    features: Float[Tensor, " b *shape"],
    *,
    normalize: GramNorm = "chw",
    mask: Float[Tensor, " b *places"] | None = None,
) -> Float[Tensor, "b d d"]:
    r"""$G = F F^\top / (C H W)$: how channels occur together, wherever they do.

    Args:
        features: a layer's ``(b, c, h, w)``, or tokens ``(b, n, c)``.
        normalize: ``"chw"`` divides by $C H W$ (MMagic's, Johnson's), ``"hw"`` by $H W$, ``"none"`` by
            nothing (Gatys sums; piq does too).
        mask: how much each place counts, in [0, 1], at the features' size (``(b, 1, h, w)``, for tokens
            ``(b, n, 1)``); $H W$ is then its sum.

    Returns:
        Symmetric matrices, in float32 at least.

    Raises:
        ValueError: ``normalize`` is unknown, or the features are neither maps nor tokens.

    References:
        Gatys, Ecker, Bethge, Image Style Transfer Using Convolutional Neural Networks, CVPR 2016,
        doi:10.1109/CVPR.2016.265; Johnson et al., ECCV 2016, arXiv:1603.08155, equation 3.
    """
    check_choice("normalize", normalize, _NORMS)
    if features.ndim not in (3, 4):
        raise ValueError(
            f"features must be (b, c, h, w) or tokens (b, n, c), not {tuple(features.shape)}"
        )
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    # Places by channels: as networks run with channels_last have them in memory.
    flat = features.permute(0, 2, 3, 1).flatten(1, 2) if features.ndim == 4 else features
    count: Tensor | float = flat.shape[1]
    with torch.autocast(flat.device.type, enabled=False):
        if mask is not None:
            weights = mask.to(flat.dtype).flatten(1)[:, :, None]
            gram = flat.transpose(1, 2) @ (flat * weights)
            count = weights.sum(1, keepdim=True).clamp_min(1e-12)
        elif torch.compiler.is_compiling() or not flat.requires_grad:
            gram = flat.transpose(1, 2) @ flat
        else:
            gram = _Gram.apply(flat)
    if normalize == "none":
        return gram
    return gram / (count * flat.shape[2] if normalize == "chw" else count)


def lasting_gram(
    features: Tensor, *, normalize: GramNorm = "chw", mask: Tensor | None = None
) -> Tensor:
    """`gram_matrix`, made once for as long as they live.

    For what a backbone found in a target, which is kept while the target is, and which nobody
    writes into. With a mask, or where a graph or a compiler looks on, it is made anew.
    """
    counted = only_autograd(features) and not torch.is_inference_mode_enabled()
    if mask is not None or not counted or features.requires_grad or features.is_inference():
        return gram_matrix(features, normalize=normalize, mask=mask)
    known = _GRAMS.setdefault(features, {})
    key = (normalize, features._version)
    if key not in known:
        known[key] = gram_matrix(features, normalize=normalize)
    return known[key]


_GRAMS: MutableMapping[Tensor, dict[tuple[str, int], Tensor]] = WeakTensorKeyDictionary()


class _Gram(torch.autograd.Function):
    r"""$X^\top X$, whose gradient $X (G + G^\top)$ is one product where autograd takes two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(flat: Tensor) -> Tensor:
        return flat.transpose(1, 2) @ flat

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        both: Tensor = grad + grad.transpose(1, 2)
        product: Tensor = flat @ both
        return product

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (flat,) = ctx.saved_tensors
        half: Tensor = flat.transpose(1, 2) @ tangent
        return half + half.transpose(1, 2)


def style_distance(
    pred: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    criterion: Criterion = "l1",
    normalize: GramNorm = "chw",
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    target_gram: Callable[..., Tensor] = gram_matrix,
) -> Float[Tensor, "..."]:
    r"""$\sum_l w_l \, \mathrm{criterion}(G(F_l), G(\hat F_l))$ over layers.

    Args:
        pred: features by layer.
        target: features by layer, of any size, of pred's batch or of one image, the style of all;
            the caller sees to it that they take no gradient.
        weights: by layer; both mappings hold these layers.
        criterion: ``"l1"`` or ``"mse"``: the mean over a matrix.
        normalize: of the Gram matrices; ``"none"`` compares sums, which grow with the size.
        mask: how much each place of the image counts, ``(b, 1, h, w)``; for features of one size.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.
        target_gram: makes the target's matrices; one that remembers them, where that is safe.

    Returns:
        At least 0; 0 where the features are equal.
    """
    total: Tensor | None = None
    for layer, weight in weights.items():
        ours, theirs, places = pred[layer], target[layer], None
        if mask is not None:  # one target has as many matrices as there are masks
            theirs, places = theirs.expand_as(ours), layer_mask(mask, ours)
        fake = gram_matrix(ours, normalize=normalize, mask=places)
        real = target_gram(theirs, normalize=normalize, mask=places)
        value = per_sample(fake, real.expand_as(fake), criterion, whole=reduction == "mean")
        total = value * weight if total is None else total + value * weight
    assert total is not None
    return reduce(total, reduction)


class StyleLoss(FeatureLoss):
    """Style loss: distance between the Gram matrices of two images' features, wherever things are.

    A target of one image is the style of the whole batch, and may be of another size.

    Args:
        layer_weights: weight by layer; by default ``relu1_1`` to ``relu5_1``, the paper's, each 1
            (for a VGG).
        backbone: what to look through; as for
            `PerceptualLoss`.
        weights: of the network.
        criterion: ``"l1"`` or ``"mse"`` (the paper's, up to its factor 1/4) between the matrices.
        normalize: ``"chw"``: matrices divided by $C H W$; ``"hw"``: by $H W$; ``"none"``: sums,
            which grow with the image: for a target of pred's size.
        data_range: the images' range: 1, 255 or a pair.
        use_input_norm: apply the network's own mean and std.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: an option is unknown, or the network lacks a layer.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        layer_weights: Mapping[Any, float] | None = None,
        *,
        backbone: str | nn.Module = "vgg19",
        weights: str | Path = "default",
        criterion: Criterion = "l1",
        normalize: GramNorm = "chw",
        data_range: DataRange = 1.0,
        use_input_norm: bool = True,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_choice("criterion", criterion, CRITERIA)
        check_choice("normalize", normalize, _NORMS)
        if layer_weights is None:
            layer_weights = {f"relu{block}_1": 1.0 for block in range(1, 6)}
        layer_weights = check_layer_weights("layer_weights", layer_weights)
        recipe, mode = find_recipe(backbone, weights), Mode(None, precision, channels_last, compile)
        super().__init__(
            recipe, layer_weights, data_range, mode, reduction, use_input_norm=use_input_norm
        )
        self.layer_weights = layer_weights
        self.criterion: Criterion = criterion
        self.normalize: GramNorm = normalize

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare how two images are painted.

        Args:
            pred: an RGB batch ``(b, 3, h, w)`` in ``data_range``.
            target: ``(b, 3, h', w')``, or one image ``(1, 3, h', w')``, the style of all; of any size
                that the network takes. Gets no gradient.
            mask: how much each place counts, in both images, ``(b, 1, h, w)`` in [0, 1]; all places if
                left out.

        Returns:
            A scalar, or ``(b,)`` for ``reduction="none"``; at least 0, and 0 where they are equal.

        Raises:
            ValueError: shapes do not fit, or there is a mask and sizes differ.
            TypeError: an image is no floating point tensor.
        """
        return style_distance(
            *self.features(pred, target, mask, unaligned=True),
            self.layer_weights,
            criterion=self.criterion,
            normalize=self.normalize,
            mask=mask,
            reduction=self.reduction,
            target_gram=lasting_gram,
        )
