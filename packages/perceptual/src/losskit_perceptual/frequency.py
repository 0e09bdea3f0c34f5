"""Losses on spectra: focal frequency loss (Jiang et al., ICCV 2021) and plain Fourier L1."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_maps, check_number, check_pair
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_perceptual.ranged_loss import RangedLoss

_NORMS = ("backward", "ortho", "forward")


def _spectra(pred: Tensor, target: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Both spectra in complex64 or better: half-precision transforms fail or lose the detail."""
    dtype = torch.promote_types(pred.dtype, torch.float32)
    fake = torch.fft.fft2(pred.to(dtype), norm=norm)
    return fake, torch.fft.fft2(target.detach().to(dtype), norm=norm)


def _check(pred: Tensor, target: Tensor) -> None:
    check_pair(pred, target)
    check_maps("pred", pred)


def focal_frequency_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    alpha: float = 1.0,
    patch_factor: int = 1,
    ave_spectrum: bool = False,
    log_matrix: bool = False,
    batch_matrix: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\mathrm{mean}\,w\,|F_p - F_t|^2$ with $w = |F_p - F_t|^\alpha$ scaled to [0, 1], no gradient.

    The spectrum is the orthonormal 2-D transform of each channel; what is far off counts more.

    Args:
        pred: images in any range; the squared distance grows with it.
        target: of the same shape; gets no gradient.
        alpha: how much hard frequencies are preferred; 0: none.
        patch_factor: cut each side into so many patches, transformed one by one; must divide it.
        ave_spectrum: compare the batch's mean spectra.
        log_matrix: take the logarithm of the weights first.
        batch_matrix: scale the weights by the batch's largest, not each channel's own.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; 0 where they are equal.

    Raises:
        ValueError: shapes differ or are not 4-D, ``patch_factor`` does not divide a side, or ``alpha``
            is negative or not finite.
        TypeError: one of them is not floating point.

    References:
        Jiang, Dai, Wu, Loy, Focal Frequency Loss for Image Reconstruction and Synthesis, ICCV 2021,
        arXiv:2012.12821, equations 4 to 8.
    """
    check_reduction(reduction)
    _check(pred, target)
    check_number("alpha", alpha, least=0)
    b, c, h, w = pred.shape
    if patch_factor < 1 or h % patch_factor or w % patch_factor:
        raise ValueError(f"patch_factor={patch_factor!r} must divide height {h} and width {w}")
    p = patch_factor
    fake, real = (
        image.reshape(b, c, p, h // p, p, w // p).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        for image in (pred, target)
    )
    with torch.autocast(pred.device.type, enabled=False):
        fake, real = _spectra(fake, real, "ortho")
        if ave_spectrum:
            fake, real = fake.mean(0, keepdim=True), real.mean(0, keepdim=True)
        difference = torch.view_as_real(fake - real)
        squared = difference.square().sum(-1)
        weight = squared.detach().sqrt() ** alpha
        if log_matrix:
            weight = torch.log(weight + 1.0)
        largest = weight.amax() if batch_matrix else weight.amax(dim=(-2, -1), keepdim=True)
        weight = torch.where(largest > 0, weight / largest.clamp_min(1e-30), 0.0)
        return reduce((weight * squared).flatten(1).mean(1), reduction)


def fft_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    norm: str = "backward",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""L1 between spectra, the mean of $|\Re|$ and $|\Im|$ of their difference.

    Args:
        pred: images in any range.
        target: of the same shape; gets no gradient.
        norm: of the transform, as in ``torch.fft``: ``"backward"`` (not normalised, MIMO-UNet's),
            ``"ortho"`` (divided by $\sqrt{hw}$: the value does not grow with the image) or
            ``"forward"``.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; 0 where they are equal.

    Raises:
        ValueError: shapes differ or are not 4-D, or ``norm`` is unknown.
        TypeError: one of them is not floating point.

    References:
        Cho et al., Rethinking Coarse-to-Fine Approach in Single Image Deblurring, ICCV 2021,
        arXiv:2108.05054, equation 9.
    """
    check_reduction(reduction)
    _check(pred, target)
    if norm not in _NORMS:
        raise ValueError(f"norm must be one of {', '.join(_NORMS)}, not {norm!r}")
    with torch.autocast(pred.device.type, enabled=False):
        fake, real = _spectra(pred, target, norm)
        distance = torch.view_as_real(fake - real).abs()
        return reduce(distance.flatten(1).mean(1), reduction)


class FocalFrequencyLoss(RangedLoss):
    """`focal_frequency_loss` as a module.

    Args:
        alpha: how much hard frequencies are preferred.
        patch_factor: cut each side into so many patches.
        ave_spectrum: compare the batch's mean spectra.
        log_matrix: take the logarithm of the weights first.
        batch_matrix: scale the weights by the batch's largest.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.

    Raises:
        ValueError: ``reduction`` is unknown, or a number is out of range.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        patch_factor: int = 1,
        ave_spectrum: bool = False,
        log_matrix: bool = False,
        batch_matrix: bool = False,
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
    ) -> None:
        super().__init__(data_range, reduction)
        check_number("alpha", alpha, least=0)
        if patch_factor < 1:
            raise ValueError(f"patch_factor must be at least 1, not {patch_factor!r}")
        self.alpha = alpha
        self.patch_factor = patch_factor
        self.ave_spectrum = ave_spectrum
        self.log_matrix = log_matrix
        self.batch_matrix = batch_matrix

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        value = focal_frequency_loss(
            pred,
            target,
            alpha=self.alpha,
            patch_factor=self.patch_factor,
            ave_spectrum=self.ave_spectrum,
            log_matrix=self.log_matrix,
            batch_matrix=self.batch_matrix,
            reduction=self.reduction,
        )
        self._check_range(pred=pred, target=target)
        return value


class FFTLoss(RangedLoss):
    """`fft_loss` as a module.

    Args:
        norm: ``"backward"``, ``"ortho"`` or ``"forward"``, as in ``torch.fft``.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.

    Raises:
        ValueError: an option is unknown.
    """

    def __init__(
        self, *, norm: str = "backward", reduction: Reduction = "mean", data_range: DataRange = 1.0
    ) -> None:
        super().__init__(data_range, reduction)
        if norm not in _NORMS:
            raise ValueError(f"norm must be one of {', '.join(_NORMS)}, not {norm!r}")
        self.norm = norm

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        value = fft_loss(pred, target, norm=self.norm, reduction=self.reduction)
        self._check_range(pred=pred, target=target)
        return value
