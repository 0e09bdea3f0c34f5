"""Multi-scale structural similarity as a loss (Wang, Simoncelli and Bovik, 2003).

Written here, not taken from a library: the public ones have a NaN gradient where a scale's contrast
term is 0, or do not compile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_perceptual.ssim_windows import (
    Window,
    check_k,
    check_size,
    check_window,
    in_range,
    similarity_maps,
    window_weights,
)
from losskit_perceptual.structural import WindowedLoss

#: The exponents of Wang et al. 2003, finest scale first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


_STEEP = 1e-6  # below it a power is a straight line: x^0.04 is infinitely steep at 0


def _check_weights(weights: Sequence[float]) -> None:
    if not weights:
        raise ValueError("weights must hold one exponent a scale, not none")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights must be at least 0, finite and not all 0, not {tuple(weights)}")


def _power(base: Tensor, exponent: float) -> Tensor:
    r"""$\max(x, 0)^w$ with a finite slope: below ``_STEEP`` a straight line to 0, at 0 and below 0."""
    if exponent == 0:
        return torch.ones_like(base)
    line = base.clamp_min(0) * _STEEP ** (exponent - 1)
    return torch.where(base > _STEEP, base.clamp_min(_STEEP) ** exponent, line)


def ms_ssim(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
    window: Window = "gaussian",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Multi-scale structural similarity, $l_M^{w_M}\prod_j c_j^{w_j}$ with $c$ the contrast term.

    A scale whose contrast term is negative counts as 0 and gets no gradient: a fractional power of a
    negative number is NaN. The slope at 0, infinite by the formula, is bounded. Blind to uniform shifts of brightness and colour, more or
    less: see the example ``ms-ssim-blind-spot``.

    Args:
        pred: images within ``data_range``, with sides above ``(window_size - 1) * 2**(scales - 1)``:
            161 for the defaults.
        target: of the same shape; gets no gradient.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``.
        window_size: odd, in pixels.
        sigma: of the Gaussian, in pixels; a uniform window has none.
        k: $K_1$ and $K_2$ of the paper.
        weights: the exponents, finest scale first; their number is that of scales.
        window: ``"gaussian"`` or ``"uniform"``.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Similarity in [0, 1]; 1 where they are equal.

    Raises:
        ValueError: shapes differ, are not 4-D or too small; there are no weights; an option is out of
            range.
        TypeError: one of them is not floating point.

    References:
        Wang, Simoncelli, Bovik, Multiscale structural similarity for image quality assessment,
        Asilomar 2003, doi:10.1109/ACSSC.2003.1292216.
    """
    check_reduction(reduction)
    check_window(window_size, sigma, window)
    check_k(k)
    _check_weights(weights)
    check_size(pred, target, (window_size - 1) * 2 ** (len(weights) - 1) + 1)
    pred, target, width = in_range(pred, target, data_range)
    result: Tensor | None = None
    with torch.autocast(pred.device.type, enabled=False):
        filtering = window_weights(window, window_size, sigma, pred)
        for scale, exponent in enumerate(weights):
            if scale:
                odd = [size % 2 for size in pred.shape[2:]]
                pred = F.avg_pool2d(pred, 2, padding=odd)
                target = F.avg_pool2d(target, 2, padding=odd)
            similarity, contrast = similarity_maps(pred, target, width, filtering, k)
            term = similarity if scale == len(weights) - 1 else contrast
            factor = _power(term.flatten(2).mean(2), float(exponent))
            result = factor if result is None else result * factor
    assert result is not None
    return reduce(result.mean(1), reduction)


class MSSSIMLoss(WindowedLoss):
    """One minus `ms_ssim`: 0 for equal images, up to 1.

    Args:
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.
        window_size: odd, in pixels; a smaller one admits smaller images.
        sigma: of the Gaussian, in pixels; a uniform window has none.
        weights: the exponents, finest scale first.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
        window: ``"gaussian"`` or ``"uniform"``.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        *,
        data_range: DataRange = 1.0,
        window_size: int = 11,
        sigma: float = 1.5,
        weights: Sequence[float] = MS_SSIM_WEIGHTS,
        reduction: Reduction = "mean",
        window: Window = "gaussian",
    ) -> None:
        super().__init__(data_range, window_size, sigma, window, reduction)
        _check_weights(weights)
        self.weights = tuple(weights)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        similarity = ms_ssim(
            pred, target, weights=self.weights, reduction="none", **self._options()
        )
        self._check_range(pred=pred, target=target)
        return reduce(1 - similarity, self.reduction)
