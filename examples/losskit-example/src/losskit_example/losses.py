"""The log-cosh loss, to be replaced by yours."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from losskit import Loss
from losskit.losses.checks import check_pair
from losskit.losses.reduction import Reduction, check_reduction, reduce
from torch import Tensor


def example_loss(
    pred: Tensor,
    target: Tensor,
    *,
    sharpness: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""$\log\cosh(s\,(p - t)) / s$: half the squared difference near 0, its magnitude far from it.

    Args:
        pred: any shape, any range.
        target: of the same shape and units; it gets no gradient.
        sharpness: $s > 0$, in 1/units of the pixels: the larger, the nearer to L1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; at least 0, and 0 where they are equal.

    Raises:
        ValueError: shapes differ, ``sharpness`` is not positive, or ``reduction`` is unknown.
        TypeError: an input is not a tensor, or not floating point.
    """
    check_reduction(reduction)
    check_pair(pred, target)
    _check_sharpness(sharpness)
    difference = pred - target.detach()
    if difference.dtype in (torch.float16, torch.bfloat16):
        difference = difference.float()
    scaled = sharpness * difference
    # log(cosh(x)) = x + log(1 + exp(-2x)) - log(2), which does not overflow as cosh does.
    loss = (scaled + F.softplus(-2 * scaled) - math.log(2)) / sharpness
    return reduce(loss, reduction)


def _check_sharpness(sharpness: float) -> None:
    if sharpness <= 0:
        raise ValueError(f"sharpness must be positive, not {sharpness!r}")


class ExampleLoss(Loss):
    """`example_loss` as a module.

    Args:
        sharpness: the larger, the nearer to L1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``sharpness`` is not positive, or ``reduction`` is unknown.
    """

    def __init__(self, *, sharpness: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        _check_sharpness(sharpness)
        self.sharpness = sharpness
        self.reduction: Reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, of one shape."""
        return example_loss(
            pred,
            target,
            sharpness=self.sharpness,
            reduction=self.reduction,
        )
