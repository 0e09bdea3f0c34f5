"""Gradient penalties of Lipschitz GANs: WGAN-GP, DRAGAN, max-GP."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.checks import check_number
from losskit.losses.reduction import Reduction, check_reduction
from losskit_gan.penalties.input_gradients import (
    Discriminator,
    NormMode,
    check_images,
    check_norm_mode,
    input_gradients,
    masked,
    reduce_samples,
    safe_sqrt,
    squared_norms,
)


def interpolated(real_data: Tensor, fake_data: Tensor) -> Tensor:
    """Random points between pairs of images, one per pair; no gradient reaches the images."""
    check_images(real_data, "real_data")
    check_images(fake_data, "fake_data")
    if real_data.shape != fake_data.shape:
        raise ValueError(
            "real_data and fake_data must have one shape, not "
            f"{tuple(real_data.shape)} and {tuple(fake_data.shape)}"
        )
    shape = (real_data.shape[0],) + (1,) * (real_data.ndim - 1)
    alpha = torch.rand(shape, device=real_data.device, dtype=real_data.dtype)
    fake_data = fake_data.detach().to(real_data.dtype)
    return alpha * real_data.detach() + (1 - alpha) * fake_data


def _deviation(norms: Tensor, center: float, one_sided: bool) -> Tensor:
    deviation = norms - center
    return (deviation.relu() if one_sided else deviation).square()


def gradient_penalty_loss(
    discriminator: Discriminator,
    real_data: Float[Tensor, "b c *size"],
    fake_data: Float[Tensor, "b c *size"],
    *,
    mask: Tensor | None = None,
    norm_mode: NormMode = "pixel",
    center: float = 1.0,
    one_sided: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""WGAN-GP: keep the slope at 1 between real and generated images.

    $(\lVert\nabla_{\hat x} D(\hat x)\rVert_2 - 1)^2$ at $\hat x = \alpha x + (1-\alpha) \tilde x$,
    with one uniform α per sample. The paper's λ = 10 is the ``loss_weight``, and its norm is
    ``"HWC"``; ``"pixel"``, MMagic's default, wants the slope at every pixel to be 1.

    Args:
        discriminator: a network or function of images; see ``r1_penalty`` for wrappers and AMP.
        real_data: real images.
        fake_data: generated images of the same shape; no gradient reaches the generator.
        mask: multiplies the gradients, ``(b, 1, h, w)`` (inpainting: 1 in the hole); the result is
            divided by its mean.
        norm_mode: ``"pixel"`` (over channels, at each pixel) or ``"HWC"`` (per sample).
        center: the slope that costs nothing; 0 gives the zero-centred penalty.
        one_sided: do not penalise smaller slopes (WGAN-LP, arXiv:1709.08894).
        reduction: over samples; ``"none"`` gives one value per sample.

    Returns:
        A scalar, or ``(b,)``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a shape does not fit, or an option is unknown.

    Example:
        >>> import torch
        >>> real = torch.zeros(4, 3, 8, 8)
        >>> gradient_penalty_loss(lambda x: x[:, 0, 0, 0] * 3, real, real, norm_mode="HWC")  # (3-1)²
        tensor(4.)

    References:
        I. Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, eq. (3),
        arXiv:1704.00028. The mask is DeepFill's (arXiv:1801.07892).
    """
    check_norm_mode(norm_mode)
    check_reduction(reduction)
    images = interpolated(real_data, fake_data)
    gradients = masked(input_gradients(discriminator, images), mask)
    norms = safe_sqrt(squared_norms(gradients, norm_mode))
    check_number("center", center, least=0)
    return reduce_samples(_deviation(norms, center, one_sided), mask, reduction)


class GradientPenaltyLoss(Loss):
    """WGAN-GP's penalty; see `gradient_penalty_loss`.

    Args:
        norm_mode: ``"pixel"`` or ``"HWC"``.
        center: the slope that costs nothing.
        one_sided: penalise larger slopes only.
        reduction: over samples.

    Raises:
        ValueError: an option is unknown.
    """

    loss_name: ClassVar[str | None] = "loss_gp"

    def __init__(
        self,
        *,
        norm_mode: NormMode = "pixel",
        center: float = 1.0,
        one_sided: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_norm_mode(norm_mode)
        check_reduction(reduction)
        self.norm_mode = norm_mode
        check_number("center", center, least=0)
        self.center = center
        self.one_sided = one_sided
        self.reduction: Reduction = reduction

    def forward(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c *size"],
        fake_data: Float[Tensor, "b c *size"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty; arguments as of `gradient_penalty_loss`."""
        return gradient_penalty_loss(
            discriminator,
            real_data,
            fake_data,
            mask=mask,
            norm_mode=self.norm_mode,
            center=self.center,
            one_sided=self.one_sided,
            reduction=self.reduction,
        )
