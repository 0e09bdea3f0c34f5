"""Losses on an image composed from a predicted matte (Xu et al., Deep Image Matting, CVPR 2017, arXiv:1703.03872)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_floating
from losskit.losses.pixel import (
    MaskedDistance,
    charbonnier_loss,
    check_eps,
    l1_loss,
    mse_loss,
)
from losskit.losses.reduction import Reduction


def compose(
    alpha: Float[Tensor, " b #c h w"], fg: Float[Tensor, " b c h w"], bg: Float[Tensor, " b c h w"]
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
        TypeError: one of them is not a floating-point tensor.
    """
    for name, value in (("pred_alpha", alpha), ("fg", fg), ("bg", bg)):
        check_floating(name, value)
    if fg.shape != bg.shape:
        raise ValueError(
            f"fg and bg must have one shape, not {tuple(fg.shape)} and {tuple(bg.shape)}"
        )
    if fg.ndim < 2 or alpha.shape not in (fg.shape, (fg.shape[0], 1, *fg.shape[2:])):
        raise ValueError(
            f"pred_alpha of shape {tuple(alpha.shape)} does not fit fg of shape {tuple(fg.shape)}"
        )
    return alpha * fg + (1 - alpha) * bg


class _CompositionLoss(MaskedDistance):
    """Compose with the predicted matte, then compare."""

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
            TypeError: ``pred_alpha`` is not floating point.
        """
        return self.distance(compose(pred_alpha, fg, bg), ori_merged, weight)


class L1CompositionLoss(_CompositionLoss):
    """The L1 distance between the image composed with a predicted matte and the true one.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__(l1_loss, reduction, sample_wise)


class MSECompositionLoss(_CompositionLoss):
    """The squared distance between the composed image and the true one; no ½.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        sample_wise: average each sample over its own mask first.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean", sample_wise: bool = False) -> None:
        super().__init__(mse_loss, reduction, sample_wise)


class CharbonnierCompLoss(_CompositionLoss):
    """The Charbonnier distance between the composed image and the true one.

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
