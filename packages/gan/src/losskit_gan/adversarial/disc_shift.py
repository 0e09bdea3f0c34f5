"""Disc shift: keeps the discriminator's output from drifting away (PGGAN's ε_drift)."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_gan.predictions import Prediction, mean_over_scales


def disc_shift_loss(pred: Prediction, *, reduction: Reduction = "mean") -> Float[Tensor, "..."]:
    r"""The mean squared logit, $\overline{D(x)^2} \ge 0$; 0 for logits of zero.

    Args:
        pred: logits of any shape, unbounded; or a list of scales, which are averaged.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or a tensor of the shape of ``pred``.

    Raises:
        TypeError: ``pred`` holds no floating-point tensor.
        ValueError: ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> disc_shift_loss(torch.tensor([1.0, -3.0]))
        tensor(5.)

    References:
        T. Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A.1 (weight 0.001, on
        real images), arXiv:1710.10196.
    """
    check_reduction(reduction)
    return mean_over_scales(
        lambda logits: reduce(logits.square(), reduction), pred, names=("pred",)
    )


class DiscShiftLoss(Loss):
    """The mean squared logit; see `disc_shift_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    loss_name: ClassVar[str | None] = "loss_disc_shift"

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def forward(self, pred: Prediction) -> Float[Tensor, "..."]:
        """The loss of a discriminator's logits; arguments as of `disc_shift_loss`."""
        return disc_shift_loss(pred, reduction=self.reduction)
