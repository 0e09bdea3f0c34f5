"""Losses on an image composed from a predicted matte (Xu et al., Deep Image Matting, CVPR 2017, arXiv:1703.03872)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from losskit.loss import Loss, without_gradient
from losskit.losses.pixel import charbonnier_loss, l1_loss, mse_loss
from losskit.reduction import Reduction, check_reduction


def compose(
    alpha: Float[Tensor, "b 1 h w"], fg: Float[Tensor, "b c h w"], bg: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    r"""$\alpha f + (1 - \alpha) b$.

    Args:
        alpha: the matte, in [0, 1], one channel or as many as the images.
        fg: the foreground.
        bg: the background, of the same shape and range.

    Returns:
        An image like ``fg``.

    Raises:
        ValueError: shapes do not fit.
        TypeError: ``alpha`` is not a floating-point tensor.
    """
    if not isinstance(alpha, Tensor) or not alpha.is_floating_point():
        kind = getattr(alpha, "dtype", type(alpha).__name__)
        raise TypeError(f"pred_alpha must be a floating-point tensor, not {kind}")
    if fg.shape != bg.shape:
        raise ValueError(
            f"fg and bg must have one shape, not {tuple(fg.shape)} and {tuple(bg.shape)}"
        )
    if alpha.ndim != fg.ndim or alpha.shape[0] != fg.shape[0] or alpha.shape[2:] != fg.shape[2:]:
        raise ValueError(
            f"pred_alpha of shape {tuple(alpha.shape)} does not fit fg of shape {tuple(fg.shape)}"
        )
    return alpha * fg + (1 - alpha) * bg


class L1CompositionLoss(Loss):
    """The L1 distance between the image composed with a predicted matte and the true one.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.sample_wise = sample_wise

    def distance(self, pred: Tensor, target: Tensor, weight: Tensor | float | None) -> Tensor:
        """Between the composed and the true image."""
        return l1_loss(
            pred, target, weight=weight, reduction=self.reduction, sample_wise=self.sample_wise
        )

    def forward(
        self,
        pred_alpha: Tensor,
        fg: Tensor,
        bg: Tensor,
        ori_merged: Tensor,
        weight: Tensor | float | None = None,
    ) -> Tensor:
        """Compose and compare.

        Args:
            pred_alpha: the matte, ``(b, 1, h, w)`` in [0, 1].
            fg: the foreground, ``(b, c, h, w)``.
            bg: the background, likewise.
            ori_merged: the true image, likewise; it gets no gradient.
            weight: a mask of one channel or as many as the images.

        Returns:
            A scalar, or for ``"none"`` a tensor like ``fg``.

        Raises:
            ValueError: shapes do not fit.
        """
        if isinstance(weight, Tensor) and weight.ndim == fg.ndim and weight.shape[1] == 1:
            weight = weight.expand_as(fg)
        return self.distance(compose(pred_alpha, fg, bg), without_gradient(ori_merged), weight)


class MSECompositionLoss(L1CompositionLoss):
    """The squared distance between the composed image and the true one; no ½.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def distance(self, pred: Tensor, target: Tensor, weight: Tensor | float | None) -> Tensor:
        """Between the composed and the true image."""
        return mse_loss(
            pred, target, weight=weight, reduction=self.reduction, sample_wise=self.sample_wise
        )


class CharbonnierCompLoss(L1CompositionLoss):
    """The Charbonnier distance between the composed image and the true one.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.
        eps: added under the root; squared units of the pixels.

    Raises:
        ValueError: ``reduction`` is unknown, or ``eps`` is not positive.
    """

    def __init__(
        self, reduction: Reduction = "mean", sample_wise: bool = False, eps: float = 1e-12
    ) -> None:
        super().__init__(reduction, sample_wise)
        if eps <= 0:
            raise ValueError(f"eps must be positive, not {eps!r}: sqrt has no slope at 0")
        self.eps = eps

    def distance(self, pred: Tensor, target: Tensor, weight: Tensor | float | None) -> Tensor:
        """Between the composed and the true image."""
        return charbonnier_loss(
            pred,
            target,
            eps=self.eps,
            weight=weight,
            reduction=self.reduction,
            sample_wise=self.sample_wise,
        )
