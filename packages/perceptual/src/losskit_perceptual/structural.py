"""Structural similarity as a loss: SSIM (Wang et al., 2004).

Written here, not taken from a library: the public ones allow no value per pixel, or do not compile.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce, weighted_reduce
from losskit_perceptual.features import check_choice
from losskit_perceptual.ranged_loss import RangedLoss
from losskit_perceptual.ssim_windows import (
    Padding,
    Window,
    check_window,
    mask_at_centres,
    ssim_map,
)


def ssim(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    window: Window = "gaussian",
    padding: Padding = "valid",
    mask: Shaped[Tensor, "#b #c h w"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Mean structural similarity, by default under a Gaussian window and over whole windows only.

    The population covariance and no padding, as in Wang's code, pytorch-msssim, piq and MONAI;
    torchmetrics and (by default) kornia pad, and count the border too: ``padding="same"``.
    Values per pixel are `ssim_map`'s.

    Args:
        pred: images within ``data_range``; every channel is compared by itself.
        target: of the same shape; gets no gradient.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``.
        window_size: odd, in pixels.
        sigma: of the Gaussian, in pixels; a uniform window has none.
        k: $K_1$ and $K_2$ of the paper.
        window: ``"gaussian"`` or ``"uniform"``, scikit-image's default (there 7 pixels wide, and with
            the sample covariance).
        padding: ``"valid"``: whole windows only. ``"same"``: images are reflected at the border, as
            torchmetrics and kornia do, so that each pixel has a window. scikit-image's mean is that
            of ``"valid"``.
        mask: how much the window centred at each pixel counts, ``(b, 1, h, w)`` or ``(b, c, h, w)``,
            at least 0; each sample's mean is divided by its sum. Windows centred inside see up to
            ``window_size // 2`` pixels outside. A sample whose mask is 0 at all centres counts as
            equal.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Similarity in (-1, 1]; 1 where they are equal.

    Raises:
        ValueError: shapes differ, are not 4-D, or too small for the window; the mask does not fit; an
            option is out of range.
        TypeError: one of them is not floating point.

    References:
        Wang, Bovik, Sheikh, Simoncelli, Image quality assessment: from error visibility to
        structural similarity, TIP 2004, doi:10.1109/TIP.2003.819861, equation 13.
    """
    check_reduction(reduction)
    similarity = ssim_map(
        pred,
        target,
        data_range=data_range,
        window_size=window_size,
        sigma=sigma,
        k=k,
        window=window,
        padding=padding,
    )
    if mask is None:
        return reduce(similarity.flatten(1).mean(1), reduction)
    weights = mask_at_centres(mask, pred, window_size, padding).flatten(1)
    distance = (1 - similarity.flatten(1)) * weights
    return reduce(1 - distance.sum(1) / weights.sum(1).clamp_min(1e-12), reduction)


class WindowedLoss(RangedLoss):
    """Base class of both losses: their options for images and window, checked."""

    def __init__(
        self,
        data_range: DataRange,
        window_size: int,
        sigma: float,
        window: Window,
        reduction: Reduction,
    ) -> None:
        super().__init__(data_range, reduction)
        check_window(window_size, sigma, window)
        self.window_size = window_size
        self.sigma = sigma
        self.window: Window = window

    def _options(self) -> dict[str, Any]:
        return {
            "data_range": self.data_range,
            "window_size": self.window_size,
            "sigma": self.sigma,
            "window": self.window,
        }


class SSIMLoss(WindowedLoss):
    """One minus `ssim`: 0 for equal images, up to 2.

    Args:
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.
        window_size: odd, in pixels.
        sigma: of the Gaussian, in pixels; a uniform window has none.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value (or map) a sample.
        window: ``"gaussian"`` or ``"uniform"``.
        padding: ``"valid"``: whole windows only; ``"same"``: images are reflected at the border.
        spatial: give a map instead of a value, ``(b, c, h, w)`` for ``padding="same"``, else
            ``window_size - 1`` smaller on each axis.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        *,
        data_range: DataRange = 1.0,
        window_size: int = 11,
        sigma: float = 1.5,
        reduction: Reduction = "mean",
        window: Window = "gaussian",
        padding: Padding = "valid",
        spatial: bool = False,
    ) -> None:
        super().__init__(data_range, window_size, sigma, window, reduction)
        check_choice("padding", padding, ("valid", "same"))
        self.padding: Padding = padding
        self.spatial = spatial

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare images.

        Args:
            pred: images ``(b, c, h, w)`` in ``data_range``.
            target: of the same shape; gets no gradient.
            mask: how much the window centred at each pixel counts, ``(b, 1, h, w)`` or
                ``(b, c, h, w)``; all of them if left out. A map is multiplied by it.

        Returns:
            A scalar, or ``(b,)`` for ``reduction="none"``; with ``spatial=True`` the reduction of a
            map. At least 0, and 0 where they are equal.

        Raises:
            ValueError: shapes do not fit.
            TypeError: an image is no floating point tensor.
        """
        options = self._options() | {"padding": self.padding}
        if self.spatial:
            distance = 1 - ssim_map(pred, target, **options)
            if mask is not None:
                mask = mask_at_centres(mask, pred, self.window_size, self.padding)
            value = weighted_reduce(distance, mask, reduction=self.reduction, sample_wise=True)
        else:
            similarity = ssim(pred, target, mask=mask, reduction="none", **options)
            value = reduce(1 - similarity, self.reduction)
        self._check_range(pred=pred, target=target)
        return value
