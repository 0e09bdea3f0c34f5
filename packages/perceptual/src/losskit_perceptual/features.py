"""Functions that losses over a network's layers share: distances, masks, checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.backbones import InputNorm
from losskit.errors import nearest
from losskit.losses.checks import check_rgb
from losskit.losses.reduction import check_same_shape
from losskit_perceptual.autograd import may_overwrite, only_autograd

Criterion: TypeAlias = Literal["l1", "mse"]
CRITERIA = ("l1", "mse")
#: Elements compared at a time: what is made of them is gone through three times, in the processor's
#: cache if it is no more.
_CHUNK = 1 << 22


class _MeanAbsolute(torch.autograd.Function):
    """L1 that keeps a byte per element for the backward pass, where autograd's keeps four.

    A layer's features are then freed once they are compared; in large images that is a third of
    what a perceptual loss holds.

    ``link`` is one element of ``pred``: it keeps a gradient that is differentiated again (to zero, as
    torch has it) in the graph, without keeping all of ``pred``.
    """

    @staticmethod
    def forward(ctx: Any, pred: Tensor, target: Tensor, link: Tensor) -> Tensor:
        sign = torch.empty_like(pred, dtype=torch.int8)
        total = pred.new_zeros(())
        rows = max(1, _CHUNK * len(pred) // max(1, pred.numel()))
        parts = (torch.split(tensor, rows) for tensor in (pred, target, sign))
        for fake, real, into in zip(*parts, strict=True):
            difference = fake - real
            torch.gt(difference, 0, out=into.view(torch.bool))
            into.sub_((difference < 0).view(torch.int8))
            total += difference.abs_().sum()
        ctx.save_for_backward(sign, link)
        return total / pred.numel()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        sign, link = ctx.saved_tensors
        share = grad / sign.numel()
        if may_overwrite(grad):
            return sign.to(grad.dtype).mul_(share), None, None
        return sign.to(grad.dtype) * share + 0 * link, None, None


def _mean_absolute(pred: Tensor, target: Tensor) -> Tensor:
    # The compiler fuses the plain one better; the target's gradient is autograd's business.
    if target.requires_grad or not pred.requires_grad or not only_autograd(pred, target):
        return F.l1_loss(pred, target)
    value: Tensor = _MeanAbsolute.apply(pred, target, pred[(0,) * pred.ndim].clone())
    return value


def per_sample(
    pred: Float[Tensor, "b ..."],
    target: Float[Tensor, "b ..."],
    criterion: Criterion = "l1",
    *,
    mask: Float[Tensor, " b *_"] | None = None,
    whole: bool = False,
) -> Float[Tensor, "..."]:
    """The mean distance of each sample, in float32 at least.

    Args:
        pred: features.
        target: of the same shape.
        criterion: ``"l1"`` or ``"mse"``.
        mask: weights that broadcast over the features; the mean is then weighted.
        whole: the batch's mean at once, which needs less memory; for a mask the samples' mean.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype), target.to(dtype)
    distance = F.l1_loss if criterion == "l1" else F.mse_loss
    if mask is None:
        if whole:
            return _mean_absolute(pred, target) if criterion == "l1" else distance(pred, target)
        return distance(pred, target, reduction="none").flatten(1).mean(1)
    error = distance(pred, target, reduction="none") * mask
    count = mask.expand_as(error).flatten(1).sum(1)
    values = error.flatten(1).sum(1) / count.clamp_min(1e-12)
    return values.mean() if whole else values


def layer_mask(mask: Float[Tensor, "b 1 h w"], features: Float[Tensor, "b ..."]) -> Tensor:
    """An image's mask at a layer's size: the share of each place that is wanted.

    For tokens ``(b, n, c)`` the patches are taken to lie in rows that keep the image's shape, after
    any class or register tokens, which the mask leaves out: ``(b, n, 1)``.

    Raises:
        ValueError: the features are neither maps nor tokens of a grid.
    """
    mask = mask.to(torch.promote_types(features.dtype, torch.float32))
    if features.ndim == 4:
        return F.interpolate(mask, features.shape[2:], mode="area")
    if features.ndim != 3:
        raise ValueError(f"a mask needs maps or tokens, not features of {tuple(features.shape)}")
    rows, columns = _grid(features.shape[1], *mask.shape[2:])
    patches = F.interpolate(mask, (rows, columns), mode="area").flatten(1)
    return F.pad(patches, (features.shape[1] - rows * columns, 0))[:, :, None]


def _grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    for patch in (8, 14, 16, 32):
        rows, columns = math.ceil(height / patch), math.ceil(width / patch)
        if 0 <= tokens - rows * columns <= 8:
            return rows, columns
    raise ValueError(
        f"mask cannot be laid on {tokens} tokens of a {height}x{width} image: no grid of patches "
        "of 8, 14, 16 or 32 pixels fits; leave the mask out"
    )


def image_norm(norm: InputNorm, span: tuple[float, float], use_input_norm: bool) -> InputNorm:
    """Make the normalisation that takes images of a range to what a network expects."""
    low, high = span
    return replace(norm, low=low, high=high) if use_input_norm else InputNorm(low=low, high=high)


def check_images(
    pred: Tensor, target: Tensor, mask: Tensor | None = None, *, unaligned: bool = False
) -> None:
    """Raise unless these are floating point image batches that go together, and a mask that fits.

    Args:
        pred: images.
        target: of the same shape.
        mask: ``(b, 1, h, w)``, of pred's size.
        unaligned: what is compared has no places, so target may be of another size, or one image.
    """
    if not unaligned:
        check_same_shape(pred, target)
    check_rgb("pred", pred)
    check_rgb("target", target)
    if target.shape[0] not in (1, pred.shape[0]):  # unaligned
        raise ValueError(
            f"target must hold one image, or one for each of pred's {pred.shape[0]}, "
            f"not {target.shape[0]}"
        )
    if mask is not None:
        if target.shape[2:] != pred.shape[2:]:
            raise ValueError(
                "mask counts the same places of both images, so target must be of pred's size "
                f"{tuple(pred.shape[2:])}, not {tuple(target.shape[2:])}"
            )
        fits = mask.ndim == 4 and mask.shape[1] == 1 and mask.shape[2:] == pred.shape[2:]
        if not fits or mask.shape[0] not in (1, pred.shape[0]):
            raise ValueError(
                f"mask must be (b, 1, h, w) for images {tuple(pred.shape)}, not {tuple(mask.shape)}"
            )


def check_layer_weights(name: str, weights: Mapping[Any, float]) -> dict[str, float]:
    """Layers as strings; raise where there is none, or a weight is no number."""
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(f"{name} must map at least one layer to its weight, not {weights!r}")
    for layer, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise TypeError(f"{name}[{layer!r}] must be a number, not {weight!r}")
        if not math.isfinite(weight):
            raise ValueError(f"{name}[{layer!r}] must be finite, not {weight!r}")
    return {str(layer): float(weight) for layer, weight in weights.items()}


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ValueError unless an option is one of those there are."""
    if value not in allowed:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}"
            + nearest(str(value), allowed)
        )
