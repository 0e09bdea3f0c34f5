"""Structural similarity as losses: SSIM (Wang et al., 2004) and MS-SSIM (Wang et al., 2003).

Written here, not taken from a library: the public ones have a NaN gradient where a scale's contrast
term is 0, allow no value per pixel, or do not compile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.data_range import DataRange, RangeCheck, parse_data_range
from losskit.inputs import check_maps, check_pair, layout_hint
from losskit.loss import Loss
from losskit.reduction import Reduction, check_reduction, reduce

#: The exponents of Wang et al. 2003, finest scale first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_STEEP = 1e-6  # below it a power is a straight line: x^0.04 is infinitely steep at 0


def _check(pred: Tensor, target: Tensor, least: int) -> None:
    check_pair(pred, target)
    check_maps("pred", pred)
    if min(pred.shape[2:]) < least:
        raise ValueError(
            f"pred must be (b, c, h, w) with h and w of at least {least}, not {tuple(pred.shape)}"
            + (layout_hint(pred) or ": use larger images or a smaller window_size")
        )


def _check_window(window_size: int, sigma: float) -> None:
    if window_size < 1 or window_size % 2 == 0:
        raise ValueError(f"window_size must be odd and positive, not {window_size!r}")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be positive and finite, not {sigma!r}")


def _check_k(k: tuple[float, float]) -> None:
    if len(k) != 2 or not all(0 < value < math.inf for value in k):
        raise ValueError(f"k must be two positive numbers, not {k!r}: flat images would give 0/0")


def _check_weights(weights: Sequence[float]) -> None:
    if not weights:
        raise ValueError("weights must hold one exponent a scale, not none")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights must be at least 0, finite and not all 0, not {tuple(weights)}")


def _gaussian(window_size: int, sigma: float, like: Tensor) -> Tensor:
    x = torch.arange(window_size, device=like.device, dtype=like.dtype) - window_size // 2
    window = torch.exp(-x.square() / (2 * sigma**2))
    return window / window.sum()


def _blur(image: Tensor, window: Tensor) -> Tensor:
    """Separable filtering without padding: only whole windows count."""
    channels = image.shape[1]
    kernel = window.expand(channels, 1, 1, -1)
    image = F.conv2d(image, kernel.transpose(2, 3), groups=channels)
    return F.conv2d(image, kernel, groups=channels)


def _maps(
    pred: Tensor,
    target: Tensor,
    width: float,
    window_size: int,
    sigma: float,
    k: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    r"""SSIM and its contrast-structure part, per window.

    $E[x^2] - E[x]^2$ cancels where images are bright and flat. The sum $u$ and the difference $v$ of
    the images, each less its mean, have small squares, and say the same:
    $4\sigma_{pt} = \sigma_u^2 - \sigma_v^2$ and $2(\sigma_p^2 + \sigma_t^2) = \sigma_u^2 + \sigma_v^2$.
    """
    window = _gaussian(window_size, sigma, pred)
    c1, c2 = 2 * (k[0] * width) ** 2, 2 * (k[1] * width) ** 2
    channels = torch.cat([pred + target, pred - target], dim=1)
    # A number to subtract, so no gradient: variances do not change with it.
    centre = channels.detach().mean((2, 3), keepdim=True)
    channels = channels - centre
    means, squares = _blur(torch.cat([channels, channels * channels], dim=1), window).chunk(2, 1)
    var_u, var_v = (squares - means**2).chunk(2, 1)
    mean_u, mean_v = (means + centre).chunk(2, 1)
    contrast = (var_u - var_v + c2) / (var_u + var_v + c2)
    luminance = 1 - 2 * mean_v**2 / (mean_u**2 + mean_v**2 + c1)
    return luminance * contrast, contrast


def _power(base: Tensor, exponent: float) -> Tensor:
    r"""$\max(x, 0)^w$ with a finite slope: below ``_STEEP`` a straight line to 0, at 0 and below 0."""
    if exponent == 0:
        return torch.ones_like(base)
    line = base.clamp_min(0) * _STEEP ** (exponent - 1)
    return torch.where(base > _STEEP, base.clamp_min(_STEEP) ** exponent, line)


def _shifted(pred: Tensor, target: Tensor, data_range: DataRange) -> tuple[Tensor, Tensor, float]:
    """Both images in float32 or better, starting at 0, and the range's width.

    SSIM's luminance term is defined for images that start at 0.
    """
    low, high = parse_data_range(data_range)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pred, target = pred.to(dtype), target.to(dtype).detach()
    return (pred - low, target - low, high - low) if low else (pred, target, high)


def ssim(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Mean structural similarity under a Gaussian window, over whole windows only.

    The population covariance and no padding, as in Wang's code and pytorch-msssim;
    torchmetrics and (by default) kornia pad, and count the border too.

    Args:
        pred: images within ``data_range``; every channel is compared by itself.
        target: of the same shape; gets no gradient.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``.
        window_size: of the Gaussian, odd, in pixels.
        sigma: of the Gaussian, in pixels.
        k: $K_1$ and $K_2$ of the paper.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Similarity in (-1, 1]; 1 where they are equal.

    Raises:
        ValueError: shapes differ, are not 4-D, or smaller than the window; ``window_size`` is even.
        TypeError: one of them is not floating point.

    References:
        Wang, Bovik, Sheikh, Simoncelli, Image quality assessment: from error visibility to
        structural similarity, TIP 2004, doi:10.1109/TIP.2003.819861, equation 13.
    """
    check_reduction(reduction)
    _check_window(window_size, sigma)
    _check_k(k)
    _check(pred, target, window_size)
    pred, target, width = _shifted(pred, target, data_range)
    with torch.autocast(pred.device.type, enabled=False):
        similarity, _ = _maps(pred, target, width, window_size, sigma, k)
    return reduce(similarity.flatten(1).mean(1), reduction)


def ms_ssim(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k: tuple[float, float] = (0.01, 0.03),
    weights: Sequence[float] = MS_SSIM_WEIGHTS,
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
        window_size: of the Gaussian, odd, in pixels.
        sigma: of the Gaussian, in pixels.
        k: $K_1$ and $K_2$ of the paper.
        weights: the exponents, finest scale first; their number is that of scales.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Similarity in [0, 1]; 1 where they are equal.

    Raises:
        ValueError: shapes differ, are not 4-D or too small; there are no weights.
        TypeError: one of them is not floating point.

    References:
        Wang, Simoncelli, Bovik, Multiscale structural similarity for image quality assessment,
        Asilomar 2003, doi:10.1109/ACSSC.2003.1292216.
    """
    check_reduction(reduction)
    _check_window(window_size, sigma)
    _check_k(k)
    _check_weights(weights)
    _check(pred, target, (window_size - 1) * 2 ** (len(weights) - 1) + 1)
    pred, target, width = _shifted(pred, target, data_range)
    result: Tensor | None = None
    with torch.autocast(pred.device.type, enabled=False):
        for scale, exponent in enumerate(weights):
            if scale:
                odd = [size % 2 for size in pred.shape[2:]]
                pred = F.avg_pool2d(pred, 2, padding=odd)
                target = F.avg_pool2d(target, 2, padding=odd)
            similarity, contrast = _maps(pred, target, width, window_size, sigma, k)
            term = similarity if scale == len(weights) - 1 else contrast
            factor = _power(term.flatten(2).mean(2), float(exponent))
            result = factor if result is None else result * factor
    assert result is not None
    return reduce(result.mean(1), reduction)


class SSIMLoss(Loss):
    """One minus [`ssim`][losskit_perceptual.structural.ssim]: 0 for equal images, up to 2.

    Args:
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.
        window_size: of the Gaussian, odd, in pixels.
        sigma: of the Gaussian, in pixels.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        data_range: DataRange = 1.0,
        window_size: int = 11,
        sigma: float = 1.5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        _check_window(window_size, sigma)
        self.data_range = parse_data_range(data_range)
        self.window_size = window_size
        self.sigma = sigma
        self.reduction: Reduction = reduction
        self._check_range = RangeCheck(self.data_range, type(self).__name__)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        similarity = self._similarity(pred, target)
        self._check_range(pred=pred, target=target)
        return reduce(1 - similarity, self.reduction)

    def _similarity(self, pred: Tensor, target: Tensor) -> Tensor:
        """Of each sample."""
        return ssim(
            pred,
            target,
            data_range=self.data_range,
            window_size=self.window_size,
            sigma=self.sigma,
            reduction="none",
        )


class MSSSIMLoss(SSIMLoss):
    """One minus [`ms_ssim`][losskit_perceptual.structural.ms_ssim]: 0 for equal images, up to 1.

    Args:
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.
        window_size: of the Gaussian, odd, in pixels; a smaller one admits smaller images.
        sigma: of the Gaussian, in pixels.
        weights: the exponents, finest scale first.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        data_range: DataRange = 1.0,
        window_size: int = 11,
        sigma: float = 1.5,
        weights: Sequence[float] = MS_SSIM_WEIGHTS,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(data_range, window_size, sigma, reduction)
        _check_weights(weights)
        self.weights = tuple(weights)

    def _similarity(self, pred: Tensor, target: Tensor) -> Tensor:
        return ms_ssim(
            pred,
            target,
            data_range=self.data_range,
            window_size=self.window_size,
            sigma=self.sigma,
            weights=self.weights,
            reduction="none",
        )
