"""Total variation under a mask (Liu et al., Partial Convolutions, ECCV 2018, arXiv:1804.07723)."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss, without_gradient
from losskit.losses.checks import check_floating, check_maps
from losskit.losses.pixel import l1_loss
from losskit.losses.reduction import check_reduction

_REDUCTIONS = ("mean", "sum")


def masked_tv_loss(
    pred: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b m h w"] | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    sample_wise: bool = False,
) -> Float[Tensor, ""]:
    r"""The mean step between vertical neighbours plus that between horizontal ones, $|p_{i+1} - p_i|$.

    Means, not sums, so that the value does not grow with the image; kornia and torchmetrics sum.

    Args:
        pred: images in any range, at least 2×2.
        mask: 1 where it counts, one channel or as many as ``pred``; a pair of neighbours takes the
            mask of its first (upper or left) pixel. ``None``: everywhere.
        reduction: ``"mean"`` or ``"sum"`` of each of the two. There is no value per pixel: the two
            directions have different sizes.
        sample_wise: average each sample over its own mask first.

    Returns:
        A scalar, at least 0; 0 for a flat image.

    Raises:
        ValueError: ``pred`` is not 4-D or smaller than 2×2, or the mask does not fit, or
            ``reduction`` is unknown.
        TypeError: ``pred`` is not a floating-point tensor.

    References:
        Equation 7 of the paper (there with an unnormalised sum).
    """
    check_floating("pred", pred)
    check_maps("pred", pred)
    if min(pred.shape[2:]) < 2 or pred.numel() == 0:
        raise ValueError(f"pred must be (b, c, h, w) of at least 2×2, not {tuple(pred.shape)}")
    if mask is not None and (mask.ndim != 4 or mask.shape[2:] != pred.shape[2:]):
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not fit pred of shape {tuple(pred.shape)}"
        )
    check_reduction(reduction, _REDUCTIONS)
    options = {"reduction": reduction, "sample_wise": sample_wise}
    upper, left = (None, None) if mask is None else (mask[:, :, :-1], mask[..., :-1])
    vertical = l1_loss(pred[:, :, :-1], pred[:, :, 1:], weight=upper, **options)
    return vertical + l1_loss(pred[..., :-1], pred[..., 1:], weight=left, **options)


class MaskedTVLoss(Loss):
    """`masked_tv_loss` as a module.

    Args:
        reduction: ``"mean"`` or ``"sum"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(
        self, *, reduction: Literal["mean", "sum"] = "mean", sample_wise: bool = False
    ) -> None:
        super().__init__()
        check_reduction(reduction, _REDUCTIONS)
        self.reduction: Literal["mean", "sum"] = reduction
        self.sample_wise = sample_wise

    def forward(self, pred: Tensor, mask: Tensor | None = None) -> Tensor:
        """The total variation of ``pred``, ``(b, c, h, w)``, where ``mask`` is 1."""
        return masked_tv_loss(
            pred,
            without_gradient(mask),
            reduction=self.reduction,
            sample_wise=self.sample_wise,
        )
