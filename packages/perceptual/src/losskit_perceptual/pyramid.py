"""L1 on Laplacian pyramids (Bojanowski et al., GLO, ICML 2018, arXiv:1707.05776)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_maps, check_number, check_pair
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_perceptual.ranged_loss import RangedLoss

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson's, a = 0.375


def _blur(image: Tensor) -> Tensor:
    channels = image.shape[1]
    row = image.new_tensor(_BINOMIAL).expand(channels, 1, 1, 5)
    image = F.pad(image, (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(image, row, groups=channels), row.transpose(2, 3), groups=channels)


def laplacian_pyramid(image: Float[Tensor, "b c h w"], levels: int) -> list[Tensor]:
    """The band-pass images, finest first, and the low-pass rest last.

    Args:
        image: any range; each side at least ``2**(levels - 1) + 1`` pixels.
        levels: how many images to return, at least 1.

    Returns:
        ``levels`` images, each half the size of the one before (rounded up).

    Raises:
        ValueError: the image is too small.
    """
    least = 2 ** (levels - 1) + 1 if levels > 1 else 1  # the last but one has 3 pixels
    if min(image.shape[2:]) < least:
        height, width = image.shape[2:]
        raise ValueError(
            f"levels={levels} is too many for an image of {width}x{height} pixels: "
            f"use sides of at least {least}, or fewer levels"
        )
    pyramid = []
    for _ in range(levels - 1):
        smaller = _blur(image)[:, :, ::2, ::2]
        # Burt and Adelson's expansion: zeros between the pixels, then a filter of sum 4.
        spread = torch.zeros_like(image)
        spread[:, :, ::2, ::2] = smaller
        pyramid.append(image - 4 * _blur(spread))
        image = smaller
    return [*pyramid, image]


def laplacian_pyramid_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    levels: int = 5,
    base: float = 1.0,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\sum_j \mathrm{base}^j\,\mathrm{mean}\,|L_j(p) - L_j(t)|$, the finest level being $j = 0$.

    With ``base=1`` it is GLO's $\sum_j 2^{2j}\lVert\cdot\rVert_1$ divided by the number of pixels (each
    level has a quarter of the one before). Matting code takes ``base=2``.

    Args:
        pred: images in any range.
        target: of the same shape; gets no gradient.
        levels: of the pyramid, the low-pass rest included.
        base: how much more each coarser level weighs.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; 0 where they are equal.

    Raises:
        ValueError: shapes differ or are not 4-D, ``levels`` is too large for them or below 1.
        TypeError: one of them is not floating point.

    References:
        Bojanowski, Joulin, Lopez-Paz, Szlam, Optimizing the Latent Space of Generative Networks,
        ICML 2018, arXiv:1707.05776; Burt, Adelson, The Laplacian Pyramid as a Compact Image Code,
        IEEE Transactions on Communications 1983.
    """
    check_reduction(reduction)
    check_pair(pred, target)
    check_maps("pred", pred)
    if levels < 1:
        raise ValueError(f"levels must be at least 1, not {levels!r}")
    check_number("base", base, above=0)
    # The pyramid is linear: one pyramid of the difference serves both images.
    dtype = torch.promote_types(pred.dtype, torch.float32)
    with torch.autocast(pred.device.type, enabled=False):
        pyramid = laplacian_pyramid(pred.to(dtype) - target.detach().to(dtype), levels)
    values = [base**j * band.abs().flatten(1).mean(1) for j, band in enumerate(pyramid)]
    return reduce(sum(values[1:], values[0]), reduction)


class LaplacianPyramidLoss(RangedLoss):
    """`laplacian_pyramid_loss` as a module.

    Args:
        levels: of the pyramid, the low-pass rest included.
        base: how much more each coarser level weighs: 1 in GLO, 2 in matting.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        *,
        levels: int = 5,
        base: float = 1.0,
        reduction: Reduction = "mean",
        data_range: DataRange = 1.0,
    ) -> None:
        super().__init__(data_range, reduction)
        if levels < 1:
            raise ValueError(f"levels must be at least 1, not {levels!r}")
        check_number("base", base, above=0)
        self.levels = levels
        self.base = base

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``."""
        value = laplacian_pyramid_loss(
            pred, target, levels=self.levels, base=self.base, reduction=self.reduction
        )
        self._check_range(pred=pred, target=target)
        return value
