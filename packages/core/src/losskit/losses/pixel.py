"""Elementwise losses on pixels: L1, MSE, Huber, Charbonnier."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss, without_gradient
from losskit.losses.checks import check_number, check_pair
from losskit.losses.reduction import Reduction, check_reduction, masked_loss


def _check_delta(delta: float) -> None:
    if not delta > 0:  # infinite is half the squared error everywhere
        raise ValueError(f"delta must be positive, not {delta!r}")


def check_eps(eps: float) -> float:
    """Raise ValueError unless Charbonnier's ``eps`` is positive and finite; returns it."""
    if not eps > 0:
        raise ValueError(f"eps must be positive, not {eps!r}: sqrt has no slope at 0")
    check_number("eps", eps)
    return eps


@masked_loss
def l1_loss(pred: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, "..."]:
    r"""The absolute difference $|p - t|$.

    Args:
        pred: any shape; ``(b, c, h, w)`` where a mask is given.
        target: of the same shape and units.
        weight: a number, or a mask of the same shape or with one channel; see
            `weighted_reduce`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; at least 0, and 0 where they are equal.

    Raises:
        ValueError: shapes differ, or ``reduction`` is unknown.
        TypeError: one of them is not floating point.

    Example:
        >>> l1_loss(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0]))
        tensor(1.5000)
    """
    check_pair(pred, target)
    return F.l1_loss(pred, target, reduction="none")


@masked_loss
def mse_loss(
    pred: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
) -> Float[Tensor, "..."]:
    r"""The squared difference $(p - t)^2$, without the ½ that some texts carry.

    Args:
        pred: any shape; ``(b, c, h, w)`` where a mask is given.
        target: of the same shape and units.
        weight: as in `l1_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; 0 where they are equal.

    Raises:
        ValueError: shapes differ, or ``reduction`` is unknown.
        TypeError: one of them is not floating point.
    """
    check_pair(pred, target)
    return F.mse_loss(pred, target, reduction="none")


@masked_loss
def charbonnier_loss(
    pred: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], *, eps: float = 1e-12
) -> Float[Tensor, "..."]:
    r"""A differentiable L1, $\sqrt{(p - t)^2 + \epsilon}$.

    The convention of restoration code: it is $\sqrt\epsilon$, not 0, where both are equal, and
    $\epsilon$ is not squared. kornia's is $\sqrt{d^2 + 1} - 1$.

    Args:
        pred: any shape; ``(b, c, h, w)`` where a mask is given.
        target: of the same shape and units.
        eps: $\epsilon > 0$, in squared units of the pixels. fp16 rounds the default to 0: raise it.
        weight: as in `l1_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; at least $\sqrt\epsilon$.

    Raises:
        ValueError: shapes differ, ``eps`` is not positive, or ``reduction`` is unknown.
        TypeError: one of them is not floating point.

    References:
        Charbonnier et al., Two deterministic half-quadratic regularization algorithms for computed
        imaging, ICIP 1994, doi:10.1109/ICIP.1994.413553; as used in LapSRN, arXiv:1704.03915.
    """
    check_pair(pred, target)
    check_eps(eps)
    difference = pred - target
    if difference.dtype == torch.float16:  # 1e-12 is 0 there, and 0 has an infinite slope
        difference = difference.float()
    return torch.sqrt(difference * difference + eps)


@masked_loss
def huber_loss(
    pred: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    *,
    delta: float = 1.0,
) -> Float[Tensor, "..."]:
    r"""Quadratic below ``delta``, linear above: $\frac12 d^2$, or $\delta(|d| - \frac12\delta)$.

    Args:
        pred: any shape.
        target: of the same shape and units.
        delta: where the two meet, positive, in units of the pixels. Smooth L1 is this divided by
            ``delta``.
        weight: as in `l1_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; 0 where they are equal.

    Raises:
        ValueError: shapes differ, ``delta`` is not positive, or ``reduction`` is unknown.
        TypeError: one of them is not floating point.

    References:
        Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 1964,
        doi:10.1214/aoms/1177703732.
    """
    check_pair(pred, target)
    _check_delta(delta)
    return F.huber_loss(pred, target, reduction="none", delta=delta)


class MaskedDistance(Loss):
    """Base class for modules of an elementwise distance: its options, and a target without gradient.

    Args:
        function: a distance made by `masked_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.
        options: further arguments of the function.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        reduction: Reduction,
        sample_wise: bool,
        **options: float,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.function = function
        self.reduction: Reduction = reduction
        self.sample_wise = sample_wise
        self.options = options

    def distance(self, pred: Tensor, target: Tensor, weight: Tensor | float | None) -> Tensor:
        """The distance of two tensors of one shape under a mask; ``target`` gets no gradient."""
        return self.function(
            pred,
            without_gradient(target),
            weight=weight,
            reduction=self.reduction,
            sample_wise=self.sample_wise,
            **self.options,
        )


class PairLoss(MaskedDistance):
    """A masked distance of two tensors; see `MaskedDistance`."""

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | float | None = None) -> Tensor:
        """The loss of ``pred`` against ``target``, of one shape, under a mask."""
        return self.distance(pred, target, weight)


class L1Loss(PairLoss):
    """`l1_loss` as a module; ``target`` gets no gradient.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__(l1_loss, reduction, sample_wise)


class MSELoss(PairLoss):
    """`mse_loss` as a module; ``target`` gets no gradient.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__(mse_loss, reduction, sample_wise)


class CharbonnierLoss(PairLoss):
    """`charbonnier_loss` as a module.

    ``target`` gets no gradient.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.
        eps: added under the root; squared units of the pixels.

    Raises:
        ValueError: ``reduction`` is unknown, or ``eps`` is not positive.
    """

    def __init__(
        self, *, reduction: Reduction = "mean", sample_wise: bool = False, eps: float = 1e-12
    ) -> None:
        super().__init__(charbonnier_loss, reduction, sample_wise, eps=check_eps(eps))


class HuberLoss(PairLoss):
    """`huber_loss` as a module; ``target`` gets no gradient.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: where the quadratic part ends; units of the pixels.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown, or ``delta`` is not positive.
    """

    def __init__(
        self, *, reduction: Reduction = "mean", delta: float = 1.0, sample_wise: bool = False
    ) -> None:
        _check_delta(delta)
        super().__init__(huber_loss, reduction, sample_wise, delta=delta)
