"""Negative peak signal-to-noise ratio as a loss (Chu et al., TLC, ECCV 2022, arXiv:2112.04491)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss, without_gradient
from losskit.losses.checks import check_pair
from losskit.losses.data_range import DataRange, parse_data_range
from losskit.losses.reduction import Reduction, check_reduction, reduce


def psnr_loss(
    pred: Float[Tensor, " b *shape"],
    target: Float[Tensor, " b *shape"],
    *,
    to_y: bool = False,
    data_range: DataRange = 1.0,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\frac{10}{\ln 10}\,\ln(\mathrm{mse}_n + 10^{-8})$, the negative PSNR of images scaled to [0, 1].

    Args:
        pred: images in ``data_range``.
        target: of the same shape and range.
        to_y: compare the luma of BT.601 ($Y \in [16, 235]/255$) of RGB images instead.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; only its width matters.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Decibels, negated: lower is better; -80 at a perfect prediction.

    Raises:
        ValueError: shapes differ, ``reduction`` is unknown, or ``to_y`` without three channels.
        TypeError: one of them is not floating point.
    """
    check_reduction(reduction)
    check_pair(pred, target)
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
    low, high = parse_data_range(data_range)
    mse = difference.square().flatten(1).mean(1) / (high - low) ** 2
    return reduce(10 / math.log(10) * torch.log(mse + 1e-8), reduction)


class PSNRLoss(Loss):
    """`psnr_loss` as a module.

    Args:
        toY: the name MMagic and BasicSR use for ``to_y``: compare luma only.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``.

    Raises:
        ValueError: ``reduction`` is unknown, or ``data_range`` has no width.
    """

    def __init__(
        self,
        *,
        toY: bool = False,  # noqa: N803
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.to_y = toY
        self.data_range = parse_data_range(data_range)
        self.reduction: Reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The negative PSNR of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        return psnr_loss(
            pred,
            without_gradient(target),
            to_y=self.to_y,
            data_range=self.data_range,
            reduction=self.reduction,
        )
