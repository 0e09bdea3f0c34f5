"""Differences of image gradients, by Sobel's operator."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_maps, check_pair
from losskit.losses.pixel import PairLoss, l1_loss
from losskit.losses.reduction import Reduction, check_reduction

_SOBEL_X = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
_SOBEL_Y = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


def gradient_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    weight: Tensor | float | None = None,
    *,
    reduction: Reduction = "mean",
    sample_wise: bool = False,
) -> Float[Tensor, "..."]:
    r"""$|S_x p - S_x t| + |S_y p - S_y t|$ with the unnormalised 3×3 Sobel kernels.

    The border is zero-padded by 1, and the kernels are not divided by 8, as in MMagic; every
    channel is filtered by itself (MMagic takes one channel only).

    Args:
        pred: images in any range.
        target: of the same shape and range.
        weight: a number, or a mask; see `l1_loss`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, or for ``"none"`` a tensor like ``pred``; 0 at a perfect prediction.

    Raises:
        ValueError: shapes differ or are not 4-D, or ``reduction`` is unknown.
        TypeError: one of them is not floating point.
    """
    check_reduction(reduction)
    check_pair(pred, target)
    check_maps("pred", pred)
    kernels = pred.new_tensor([_SOBEL_X, _SOBEL_Y]).unsqueeze(1)
    # Filtering is linear, so the difference of the images is filtered once.
    b, c, h, w = pred.shape
    difference = (pred - target).reshape(b * c, 1, h, w)
    edges = F.conv2d(difference, kernels.to(difference.dtype), padding=1).view(b, c, 2, h, w)
    zero = edges.new_zeros(()).expand(b, c, h, w)
    options = {"weight": weight, "reduction": reduction, "sample_wise": sample_wise}
    return l1_loss(edges[:, :, 0], zero, **options) + l1_loss(edges[:, :, 1], zero, **options)


class GradientLoss(PairLoss):
    """`gradient_loss` as a module.

    ``target`` gets no gradient; use the function where both sides learn.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__(gradient_loss, reduction, sample_wise)
