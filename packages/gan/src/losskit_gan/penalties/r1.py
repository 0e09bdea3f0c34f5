"""R1 and R2: squared slopes of the discriminator at real and at generated images."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction
from losskit_gan.penalties.input_gradients import (
    Discriminator,
    NormMode,
    check_images,
    check_norm_mode,
    input_gradients,
    masked,
    reduce_samples,
    squared_norms,
)


def r1_penalty(
    discriminator: Discriminator,
    real_data: Float[Tensor, "b c *size"],
    *,
    mask: Tensor | None = None,
    norm_mode: NormMode = "pixel",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Penalise the discriminator's slope at the data, $\lVert\nabla_x D(x)\rVert_2^2 \ge 0$.

    There is no ½ here: the paper's and StyleGAN's $\gamma/2$ is a ``loss_weight`` of γ/2 with
    ``norm_mode="HWC"``. ``"pixel"``, MMagic's default, divides by the number of pixels.

    Compiled and data-parallel wrappers are gone round, autocast and fused attention kernels are
    off inside, and no gradient scaler is needed. Under DDP, add it to a loss that went through the
    wrapper before ``backward()``.

    Args:
        discriminator: a network or function of images. All its logits are summed (patches, scales).
        real_data: where to penalise, as the discriminator expects it.
        mask: multiplies the gradients, ``(b, 1, h, w)``; the result is divided by its mean.
        norm_mode: ``"pixel"``: the squared norm over channels, averaged over pixels; ``"HWC"``: the
            sum over channels and pixels (the paper's).
        reduction: over samples; ``"none"`` gives one value per sample.

    Returns:
        A scalar, or ``(b,)``; 0 where the discriminator is flat.

    Raises:
        TypeError: an argument is not of the type above.
        ValueError: a shape does not fit, or an option is unknown.

    Example:
        >>> import torch
        >>> real = torch.zeros(4, 3, 8, 8)
        >>> r1_penalty(lambda x: 2 * x.flatten(1).sum(1), real, norm_mode="HWC")  # 2² · 3·8·8
        tensor(768.)

    References:
        L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually
        Converge?", ICML 2018, eq. (9), arXiv:1801.04406.
    """
    check_images(real_data, "real_data")
    check_norm_mode(norm_mode)
    check_reduction(reduction)
    gradients = masked(input_gradients(discriminator, real_data), mask)
    return reduce_samples(squared_norms(gradients, norm_mode), mask, reduction)


def r2_penalty(
    discriminator: Discriminator,
    fake_data: Float[Tensor, "b c *size"],
    *,
    mask: Tensor | None = None,
    norm_mode: NormMode = "pixel",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Penalise the discriminator's slope at generated images; see `r1_penalty`.

    R3GAN (arXiv:2501.05441) uses both, each with γ/2 and ``norm_mode="HWC"``. No gradient reaches
    the generator.

    Args:
        discriminator: as for R1.
        fake_data: generated images.
        mask: as for R1.
        norm_mode: as for R1.
        reduction: as for R1.

    Returns:
        A scalar, or ``(b,)``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a shape does not fit, or an option is unknown.

    References:
        Mescheder et al., ICML 2018, eq. (10), arXiv:1801.04406.
    """
    check_images(fake_data, "fake_data")
    return r1_penalty(discriminator, fake_data, mask=mask, norm_mode=norm_mode, reduction=reduction)


class R1GradientPenalty(Loss):
    """The squared slope of the discriminator at real images; see `r1_penalty`.

    Args:
        norm_mode: ``"pixel"`` or ``"HWC"``.
        reduction: over samples.

    Raises:
        ValueError: an option is unknown.

    Example:
        >>> import torch
        >>> penalty = R1GradientPenalty(norm_mode="HWC")
        >>> penalty(lambda x: x.square().flatten(1).sum(1), torch.ones(2, 1, 2, 2)).detach()  # Σ (2x)²
        tensor(16.)
    """

    loss_name: ClassVar[str | None] = "loss_r1_gp"

    def __init__(self, *, norm_mode: NormMode = "pixel", reduction: Reduction = "mean") -> None:
        super().__init__()
        check_norm_mode(norm_mode)
        check_reduction(reduction)
        self.norm_mode = norm_mode
        self.reduction: Reduction = reduction

    def forward(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c *size"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty; arguments as of `r1_penalty`."""
        return r1_penalty(
            discriminator,
            real_data,
            mask=mask,
            norm_mode=self.norm_mode,
            reduction=self.reduction,
        )


class R2GradientPenalty(R1GradientPenalty):
    """The squared slope of the discriminator at generated images; see `r2_penalty`.

    Args:
        norm_mode: ``"pixel"`` or ``"HWC"``.
        reduction: over samples.
    """

    loss_name: ClassVar[str | None] = "loss_r2_gp"

    def forward(  # the same place in the call, named for what it takes
        self,
        discriminator: Discriminator,
        fake_data: Float[Tensor, "b c *size"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty; arguments as of `r2_penalty`."""
        return r2_penalty(
            discriminator,
            fake_data,
            mask=mask,
            norm_mode=self.norm_mode,
            reduction=self.reduction,
        )
