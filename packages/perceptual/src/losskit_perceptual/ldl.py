"""Locally discriminative learning: L1 where artifacts are (Liang et al., CVPR 2022, arXiv:2203.09195)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.checks import check_maps, check_pair
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_perceptual.ranged_loss import RangedLoss


def artifact_map(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    ema: Float[Tensor, "b c h w"] | None = None,
    *,
    window_size: int = 7,
) -> Float[Tensor, "b 1 h w"]:
    r"""Compute how likely each pixel is an artifact: $\mathrm{var}(R)^{1/5}\cdot\mathrm{var}_n(R)$.

    $R$ is the absolute residual summed over channels, $\mathrm{var}_n$ its (unbiased) variance in an
    $n\times n$ neighbourhood, reflected at the border.

    Args:
        pred: the network's images.
        target: the truth, of the same shape.
        ema: the images of the network's exponential moving average; where their residual is larger,
            the pixel is no artifact (the moving average would have been worse) and gets 0.
        window_size: $n$, odd, in pixels.

    Returns:
        The map, at least 0, without gradient.

    Raises:
        ValueError: shapes differ or are not 4-D, or the window does not fit.
        TypeError: one of them is not floating point.

    References:
        Equations 3 to 6 of the paper.
    """
    for name, other in (("target", target), ("ema", ema)):
        if other is not None:
            check_pair(pred, other, f"pred and {name}")
    check_maps("pred", pred)
    if window_size < 3 or window_size % 2 == 0 or window_size // 2 >= min(pred.shape[2:]):
        raise ValueError(
            f"window_size must be odd, at least 3 and less than twice the image's sides "
            f"{tuple(pred.shape[2:])}, not {window_size!r}"
        )
    dtype = torch.promote_types(pred.dtype, torch.float32)
    with torch.no_grad(), torch.autocast(pred.device.type, enabled=False):
        residual = (target - pred).abs().sum(1, keepdim=True).to(dtype)
        padded = F.pad(residual, (window_size // 2,) * 4, mode="reflect")
        windows = F.unfold(padded, window_size)  # (b, n·n, h·w)
        local = windows.var(1, keepdim=True).view_as(residual)
        result = residual.flatten(1).var(1).view(-1, 1, 1, 1) ** 0.2 * local
        if ema is not None:
            result = result * (residual >= (target - ema).abs().sum(1, keepdim=True))
    return result


def ldl_loss(
    pred: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    ema: Float[Tensor, "b c h w"] | None = None,
    *,
    window_size: int = 7,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\mathrm{mean}\,M\,|p - t|$ with $M$ the `artifact_map`.

    The map is a weight: no gradient goes through it.

    Args:
        pred: the network's images, in [0, 1].
        target: the truth, of the same shape; gets no gradient.
        ema: the images of the network's exponential moving average, if there is one.
        window_size: of the local variance, odd, in pixels.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        At least 0; 0 where they are equal.

    Raises:
        ValueError: shapes differ or are not 4-D, or the window does not fit.
        TypeError: one of them is not floating point.

    References:
        Liang, Zeng, Zhang, Details or Artifacts: A Locally Discriminative Learning Approach to
        Realistic Image Super-Resolution, CVPR 2022, arXiv:2203.09195, equation 7.
    """
    check_reduction(reduction)
    weight = artifact_map(pred, target, ema, window_size=window_size)
    distance = weight * (pred - target.detach()).abs()
    return reduce(distance.flatten(1).mean(1), reduction)


class LDLLoss(RangedLoss):
    """`ldl_loss` as a module.

    Args:
        window_size: of the local variance, odd, in pixels.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
        data_range: the images' range: 1.0, 255 or ``(-1, 1)``; a tensor far outside warns once.

    Raises:
        ValueError: ``reduction`` is unknown, or ``window_size`` even.
    """

    def __init__(
        self, *, window_size: int = 7, reduction: Reduction = "mean", data_range: DataRange = 1.0
    ) -> None:
        super().__init__(data_range, reduction)
        if window_size < 3 or window_size % 2 == 0:
            raise ValueError(f"window_size must be odd and at least 3, not {window_size!r}")
        self.window_size = window_size

    def forward(self, pred: Tensor, target: Tensor, ema: Tensor | None = None) -> Tensor:
        """The loss of ``pred`` against ``target``, both ``(b, c, h, w)``, given the average's images."""
        value = ldl_loss(pred, target, ema, window_size=self.window_size, reduction=self.reduction)
        self._check_range(pred=pred, target=target)
        return value
