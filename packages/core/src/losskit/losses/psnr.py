"""Negative peak signal-to-noise ratio as a loss (Chu et al., TLC, ECCV 2022, arXiv:2112.04491)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.loss import Loss, without_gradient
from losskit.losses.pixel import _check
from losskit.reduction import Reduction, check_reduction, reduce


def psnr_loss(
    pred: Float[Tensor, " b *shape"],
    target: Float[Tensor, " b *shape"],
    *,
    to_y: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\frac{10}{\ln 10}\,\ln(\mathrm{mse}_n + 10^{-8})$, the negative PSNR of images in [0, 1].

    Args:
        pred: images in [0, 1].
        target: of the same shape and range.
        to_y: compare the luma of BT.601 ($Y \in [16, 235]/255$) of RGB images instead.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Decibels, negated: lower is better; -80 at a perfect prediction.

    Raises:
        ValueError: shapes differ, ``reduction`` is unknown, or ``to_y`` without three channels.
        TypeError: ``pred`` is not floating point.
    """
    check_reduction(reduction)
    _check(pred, target)
    if pred.ndim < 2:
        raise ValueError(f"pred must have a batch axis and pixels, not shape {tuple(pred.shape)}")
    if pred.dtype in (torch.float16, torch.bfloat16):  # 1e-8 is 0 in fp16
        pred, target = pred.float(), target.float()
    difference = pred - target
    if to_y:
        if pred.ndim != 4 or pred.shape[1] != 3:
            raise ValueError(f"to_y needs RGB images (b, 3, h, w), not {tuple(pred.shape)}")
        luma = difference.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
        difference = (difference * luma).sum(1)
    mse = difference.square().flatten(1).mean(1)
    return reduce(10 / math.log(10) * torch.log(mse + 1e-8), reduction)


class PSNRLoss(Loss):
    """[`psnr_loss`][losskit.losses.psnr.psnr_loss] as a module.

    Args:
        toY: the name MMagic and BasicSR use for ``to_y``: compare luma only.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, toY: bool = False, reduction: Reduction = "mean") -> None:  # noqa: N803
        super().__init__()
        check_reduction(reduction)
        self.to_y = toY
        self.reduction: Reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The negative PSNR of ``pred`` against ``target``, both ``(b, c, h, w)`` in [0, 1]."""
        return psnr_loss(pred, without_gradient(target), to_y=self.to_y, reduction=self.reduction)
