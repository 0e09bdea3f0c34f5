"""DRAGAN and max-GP: gradient penalties near the data, and of the steepest point only."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.checks import check_number
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_gan.penalties.gradient_penalty import interpolated
from losskit_gan.penalties.input_gradients import (
    Discriminator,
    check_images,
    input_gradients,
    safe_sqrt,
    squared_norms,
)


def dragan_penalty(
    discriminator: Discriminator,
    real_data: Float[Tensor, "b c *size"],
    *,
    scale: float = 0.5,
    center: float = 1.0,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Keep the slope at 1 around real images, $(\lVert\nabla D(x+\alpha\delta)\rVert_2 - 1)^2$.

    As in the authors' code: δ is uniform in [0, ``scale``·std(x)], with one uniform α per sample.
    The paper's λ = 10 is the ``loss_weight``.

    Args:
        discriminator: a network or function of images; see ``r1_penalty`` for wrappers and AMP.
        real_data: real images.
        scale: size of the perturbation, in standard deviations of the batch.
        center: the slope that costs nothing.
        reduction: over samples.

    Returns:
        A scalar, or ``(b,)``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an option is unknown, or a shape does not fit.

    References:
        N. Kodali et al., "On Convergence and Stability of GANs", 2017, arXiv:1705.07215.
    """
    check_images(real_data, "real_data")
    check_reduction(reduction)
    check_number("scale", scale, least=0)
    check_number("center", center, least=0)
    real = real_data.detach()
    shape = (real.shape[0],) + (1,) * (real.ndim - 1)
    alpha = torch.rand(shape, device=real.device, dtype=real.dtype)
    delta = scale * real.std(correction=0) * torch.rand_like(real)
    norms = safe_sqrt(squared_norms(input_gradients(discriminator, real + alpha * delta), "HWC"))
    return reduce((norms - center).square(), reduction)


def max_gradient_penalty(
    discriminator: Discriminator,
    real_data: Float[Tensor, "b c *size"],
    fake_data: Float[Tensor, "b c *size"],
) -> Float[Tensor, ""]:
    r"""Penalise the steepest point between real and generated images, $\max_i\lVert\nabla D\rVert^2$.

    Bounds the Lipschitz constant instead of fixing the slope everywhere. The paper's ½ is left to
    the ``loss_weight``. Under data parallelism each rank has a maximum of its own.

    Args:
        discriminator: a network or function of images.
        real_data: real images.
        fake_data: generated images of the same shape.

    Returns:
        A scalar ≥ 0.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a shape does not fit.

    References:
        Z. Zhou et al., "Lipschitz Generative Adversarial Nets", ICML 2019, section 4.2,
        arXiv:1902.05687.
    """
    images = interpolated(real_data, fake_data)
    return squared_norms(input_gradients(discriminator, images), "HWC").amax()


class DRAGANPenalty(Loss):
    """A gradient penalty around real images; see `dragan_penalty`.

    Args:
        scale: size of the perturbation, in standard deviations of the batch.
        center: the slope that costs nothing.
        reduction: over samples.

    Raises:
        ValueError: ``reduction`` is unknown, or ``scale`` is negative.
    """

    loss_name: ClassVar[str | None] = "loss_dragan"

    def __init__(
        self, *, scale: float = 0.5, center: float = 1.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_number("scale", scale, least=0)
        check_number("center", center, least=0)
        self.scale = scale
        self.center = center
        self.reduction: Reduction = reduction

    def forward(
        self, discriminator: Discriminator, real_data: Float[Tensor, "b c *size"]
    ) -> Float[Tensor, "..."]:
        """The penalty; arguments as of `dragan_penalty`."""
        return dragan_penalty(
            discriminator,
            real_data,
            scale=self.scale,
            center=self.center,
            reduction=self.reduction,
        )


class MaxGradientPenalty(Loss):
    """The squared slope at the steepest point of a batch; see `max_gradient_penalty`."""

    loss_name: ClassVar[str | None] = "loss_max_gp"

    def forward(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c *size"],
        fake_data: Float[Tensor, "b c *size"],
    ) -> Float[Tensor, ""]:
        """The penalty; arguments as of `max_gradient_penalty`."""
        return max_gradient_penalty(discriminator, real_data, fake_data)
