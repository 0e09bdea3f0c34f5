"""Weighting and reduction, once for all elementwise losses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from losskit.errors import nearest

Reduction: TypeAlias = Literal["mean", "sum", "none"]
REDUCTIONS = ("mean", "sum", "none")
_WEIGHT_EPS = 1e-12  # keeps an all-zero mask from dividing by zero; MMagic's value


def check_reduction(reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ValueError unless ``reduction`` is one of ``allowed``."""
    if reduction not in allowed:
        raise ValueError(
            f"reduction must be one of {', '.join(allowed)}, not {reduction!r}"
            + nearest(str(reduction), allowed)
        )


def check_same_shape(pred: Tensor, target: Tensor, names: str = "pred and target") -> None:
    """Raise unless both are tensors of one shape: silent broadcasting hides wrong data."""
    for name, value in zip(names.split(" and "), (pred, target), strict=True):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")
    if pred.shape != target.shape:
        raise ValueError(
            f"{names} must have one shape, not {tuple(pred.shape)} and {tuple(target.shape)}"
        )


def reduce(loss: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Mean, sum or the tensor as it is."""
    check_reduction(reduction)
    if reduction == "none":
        return loss
    if reduction == "mean" and loss.dtype == torch.float16:  # whose sum may be infinite
        return loss.mean()
    total = loss.sum()
    # Not mean(): its backward pass writes a whole tensor of 1/n before anything else is done.
    return total / loss.numel() if reduction == "mean" else total


def per_sample(values: Tensor) -> Tensor:
    """The mean of each sample's values, ``(b,)``; of a vector the values themselves."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def reduce_per_sample(values: Tensor, reduction: Reduction = "mean") -> Tensor:
    """The mean; or the means of each sample's values, added up or as they are.

    Args:
        values: the first axis is the batch.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over samples.

    Raises:
        ValueError: ``reduction`` is unknown.
    """
    check_reduction(reduction)
    return values.mean() if reduction == "mean" else reduce(per_sample(values), reduction)


def weighted_reduce(
    loss: Tensor,
    weight: Tensor | float | None = None,
    *,
    reduction: Reduction = "mean",
    sample_wise: bool = False,
) -> Tensor:
    """Multiply an elementwise loss by a weight and reduce it.

    Args:
        loss: values per element, any shape; ``(b, c, ...)`` where a tensor weight is given.
        weight: a number scales the result. A tensor (a mask, say) of the loss's shape, or with one
            channel where the loss has several, also normalises it: ``"mean"`` divides by the sum
            of the weights, so that masked-out elements do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: with a tensor weight and ``"mean"``: normalise each sample by its own weights,
            then average over samples, so that each counts the same however large its mask.

    Returns:
        A scalar, or for ``"none"`` a tensor of the loss's shape.

    Raises:
        ValueError: the weight's shape does not fit, or ``reduction`` is unknown.
    """
    check_reduction(reduction)
    if weight is None:
        return reduce(loss, reduction)
    if not isinstance(weight, Tensor) or weight.ndim == 0:
        return reduce(loss, reduction) * weight
    fits = weight.ndim == loss.ndim and (
        weight.shape == loss.shape
        or (loss.ndim > 1 and weight.shape == (loss.shape[0], 1, *loss.shape[2:]))
    )
    if not fits:
        raise ValueError(
            f"weight of shape {tuple(weight.shape)} does not fit a loss of shape "
            f"{tuple(loss.shape)}: give the same shape, or one channel"
        )
    loss = loss * weight.to(loss.dtype)
    if reduction != "mean":
        return reduce(loss, reduction)
    # Summed in fp32 at least: in fp16 the sum over a mask of 300×300 pixels is infinite.
    wide = torch.promote_types(loss.dtype, torch.float32)
    weight = weight.expand_as(loss)
    if sample_wise:
        totals = weight.flatten(1).sum(1, dtype=wide) + _WEIGHT_EPS
        return (loss.flatten(1).sum(1, dtype=wide) / totals).mean().to(loss.dtype)
    return (loss.sum(dtype=wide) / (weight.sum(dtype=wide) + _WEIGHT_EPS)).to(loss.dtype)


def masked_loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give an elementwise loss function ``weight``, ``reduction`` and ``sample_wise``.

    The function may take any tensors and options and returns one value per element. The result
    takes, besides them, the three arguments of `weighted_reduce` by keyword.

    Example:
        >>> import torch
        >>> @masked_loss
        ... def squared_error(pred, target):
        ...     return (pred - target) ** 2
        >>> pred, mask = torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]])
        >>> squared_error(pred, torch.zeros(1, 2), weight=mask)
        tensor(1.)
    """

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        weight: Tensor | float | None = None,
        reduction: Reduction = "mean",
        sample_wise: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        return weighted_reduce(
            function(*args, **kwargs), weight, reduction=reduction, sample_wise=sample_wise
        )

    # The visible signature is the function's own plus the three: `losskit show` and the config
    # check read it.
    import inspect

    own = inspect.signature(function)
    extra = [
        parameter
        for parameter in inspect.signature(weighted_reduce, eval_str=True).parameters.values()
        if parameter.name in ("weight", "reduction", "sample_wise")
        and parameter.name not in own.parameters
    ]
    keyword_only = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in extra]
    kinds = list(own.parameters.values())
    rest = [p for p in kinds if p.kind is p.VAR_KEYWORD]
    vars(wrapper)["__signature__"] = own.replace(
        parameters=[p for p in kinds if p not in rest] + keyword_only + rest
    )
    return wrapper


weighted_loss = masked_loss
