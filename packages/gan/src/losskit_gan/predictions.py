"""Outputs of discriminators, in one form: a tensor, one per scale, or features per scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from losskit.losses.reduction import Reduction, reduce_per_sample

HALF = (torch.bfloat16, torch.float16)
#: One scale's logits, a list of scales, or a list of feature lists that end with the logits.
Prediction: TypeAlias = Tensor | Sequence[Tensor] | Sequence[Sequence[Tensor]]


def logits_per_scale(prediction: Prediction, name: str = "input") -> list[Tensor]:
    """The logits in a discriminator's prediction, one tensor per scale, in at least float32.

    Args:
        prediction: a tensor; a list of tensors, one per scale; or a list of lists, each scale's
            features with its logits last (multi-scale and projected discriminators).
        name: the argument's name, for messages.

    Raises:
        TypeError: there is something else in it, or integers.
        ValueError: a list is empty.
    """
    scales = [prediction] if isinstance(prediction, Tensor) else prediction
    if not isinstance(scales, (list, tuple)):
        raise TypeError(
            f"{name} must be a tensor, a list of tensors or a list of feature lists, "
            f"not {type(prediction).__name__}"
        )
    if not scales:
        raise ValueError(f"{name} is an empty list: a discriminator must return logits")
    return [_logits(scale, name) for scale in scales]


def _logits(scale: Tensor | Sequence[Tensor], name: str) -> Tensor:
    if isinstance(scale, (list, tuple)):
        if not scale:
            raise ValueError(f"{name} has a scale without tensors: its last one must be the logits")
        scale = scale[-1]
    if not isinstance(scale, Tensor):
        raise TypeError(f"{name} must hold tensors, not {type(scale).__name__}")
    if not scale.is_floating_point():
        raise TypeError(f"{name} must hold floating-point logits, not {scale.dtype}")
    # Losses of half-precision logits are computed in float32: a mean of many of them is not safe.
    return scale.float() if scale.dtype in HALF else scale


def mean_over_scales(
    function: Callable[..., Tensor], *predictions: Prediction, names: Sequence[str]
) -> Tensor:
    """Apply a loss to each scale's logits and average, so that more scales weigh no more.

    Raises:
        TypeError: as for ``logits_per_scale``.
        ValueError: the predictions have different numbers of scales, or scales of different shapes
            are not reduced.
    """
    scales = [logits_per_scale(p, name) for p, name in zip(predictions, names, strict=True)]
    counts = {len(scale) for scale in scales}
    if len(counts) > 1:
        found = ", ".join(f"{len(s)} in {name}" for s, name in zip(scales, names, strict=True))
        raise ValueError(f"predictions must have one number of scales, not {found}")
    values = [function(*logits) for logits in zip(*scales, strict=True)]
    if len(values) == 1:
        return values[0]
    if len({value.shape for value in values}) > 1:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise ValueError(
            f"reduction='none' cannot average scales of shapes {shapes}: use 'mean' or 'sum'"
        )
    return torch.stack(values).mean(0)


def reduce_players(real: Tensor, fake: Tensor, reduction: Reduction) -> Tensor:
    """The sum of what real and generated samples give, each reduced over its samples.

    Raises:
        ValueError: for ``"none"`` there are more of one kind than of the other.
    """
    if reduction == "none" and len(real) != len(fake):
        raise ValueError(
            f"reduction='none' needs as many generated as real images, not {len(fake)} and {len(real)}"
        )
    return reduce_per_sample(real, reduction) + reduce_per_sample(fake, reduction)
