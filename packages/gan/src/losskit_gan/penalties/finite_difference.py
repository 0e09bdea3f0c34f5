"""R1 and R2 by finite differences: no second backward pass."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.checks import check_number
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_gan.penalties.input_gradients import (
    Discriminator,
    check_images,
    in_precision_of,
    unwrapped,
)
from losskit_gan.penalties.replay import PassState
from losskit_gan.predictions import HALF, Prediction, logits_per_scale


def _sums(prediction: Prediction, name: str) -> Tensor:
    """One number per sample: all its logits together, as R1 sums them."""
    scales = logits_per_scale(prediction, name)
    return torch.stack([s.flatten(1).sum(1) if s.ndim > 1 else s for s in scales]).sum(0)


def finite_difference_penalty(
    discriminator: Discriminator,
    images: Float[Tensor, "b c *size"],
    *,
    sigma: float = 0.01,
    logits: Prediction | None = None,
    noise: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""Estimate R1 (or R2) by two forward passes, $\big((D(x+\sigma\varepsilon)-D(x))/\sigma\big)^2$.

    Its expectation over $\varepsilon\sim\mathcal N(0, I)$ tends to $\lVert\nabla_x D\rVert_2^2$
    (``r1_penalty`` with ``norm_mode="HWC"``) as σ → 0, so weights carry over. The paper leaves the
    division by σ² out: its weight λ is ``loss_weight`` λσ² here (100 at σ = 0.01 is 0.01).

    It goes through compiled discriminators and FSDP, which a second backward pass does not. Autocast
    is off inside: the difference of two rounded logits would be noise. Both passes draw the same
    random numbers (dropout) and find the same buffers (spectral normalisation): what differs between
    them is divided by σ, and must be the images alone.

    Args:
        discriminator: a network or function of images; a sample's logits are summed.
        images: real ones for R1, generated ones for R2; no gradient flows into them.
        sigma: size of the step, in the images' units; the paper's 0.01 for images in [-1, 1].
        logits: those at ``images``, if they are known already in full precision: saves a pass. Of
            a discriminator whose passes differ by themselves they are refused.
        noise: ε, of the images' shape; drawn if not given.
        reduction: over samples; ``"none"`` gives one value per sample.

    Returns:
        A scalar, or ``(b,)``; ≥ 0.

    Raises:
        TypeError: an argument has the wrong type, or ``logits`` or the discriminator's weights are
            in half precision.
        ValueError: an option is out of range, a shape does not fit, or ``logits`` are given of a
            discriminator that draws random numbers or moves its buffers in each pass.

    Example:
        >>> slope = torch.tensor([[3.0, 4.0]])
        >>> finite_difference_penalty(
        ...     lambda x: x @ slope.T, torch.zeros(1, 2), noise=torch.tensor([[1.0, 0.0]])
        ... )
        tensor(9.)

    References:
        S. Lin et al., "Diffusion Adversarial Post-Training for One-Step Video Generation", ICML
        2025, section 3.3, arXiv:2501.08316.
    """
    check_images(images, "images")
    check_reduction(reduction)
    check_number("sigma", sigma, above=0)
    if noise is not None and not isinstance(noise, Tensor):
        raise TypeError(f"noise must be a tensor or None, not {type(noise).__name__}")
    if noise is not None and noise.shape != images.shape:
        raise ValueError(
            f"noise must have the images' shape {tuple(images.shape)}, not {tuple(noise.shape)}"
        )
    network = unwrapped(discriminator, compiled=False)
    images = in_precision_of(network, images)
    if images.dtype in HALF:
        raise TypeError(
            f"differences in {images.dtype} are too coarse: keep images and the discriminator's "
            "weights in float32, autocast or not, or take R1GradientPenalty"
        )
    noise = torch.randn_like(images) if noise is None else noise.to(images.dtype)
    with torch.autocast(images.device.type, enabled=False):
        before = PassState(network, images.device)
        if logits is None:
            here = _sums(network(images.clone()), "discriminator's output")
            before.put_back()
        else:
            _check_precise(logits)
            here = _sums(logits, "logits")
        there = _sums(network(images + sigma * noise), "discriminator's output")
        if logits is not None and before.has_moved():
            raise ValueError(
                "logits were made by another pass, and this discriminator's passes differ by "
                "themselves (dropout, spectral normalisation): leave logits out of data_info"
            )
        if here.shape != there.shape:
            raise ValueError(f"logits are of {len(here)} samples, images of {len(there)}")
        return reduce(((there - here) / sigma).square(), reduction)


def _check_precise(logits: Prediction) -> None:
    first: object = logits
    while isinstance(first, (list, tuple)) and first:
        first = first[-1]
    if isinstance(first, Tensor) and first.dtype in HALF:
        raise TypeError(f"logits in {first.dtype} are too coarse for differences: leave them out")


def _check_unrounded(logits: Prediction) -> bool:
    """Mixed precision hands losses float32 logits that a network rounded to half precision before.

    Returns:
        Whether that could be told: one number, or a head that is constant at first, says nothing.
    """
    values = torch.cat([scale.detach().flatten() for scale in logits_per_scale(logits, "logits")])
    values = values[values != 0]
    if (values == values[:1]).all():
        return False
    for dtype in HALF:
        if torch.equal(values, values.to(dtype).to(values.dtype)):
            raise ValueError(
                f"logits are rounded to {dtype}, too coarse for differences: the discriminator runs "
                "in mixed precision; leave logits out of data_info"
            )
    return True


class FiniteDifferenceR1(Loss):
    """R1 by finite differences at real images; see `finite_difference_penalty`.

    Its first call looks whether given logits were rounded to half precision, as under mixed
    precision they are.

    Args:
        sigma: size of the step.
        reduction: over samples.

    Raises:
        ValueError: an option is out of range.
    """

    loss_name: ClassVar[str | None] = "loss_r1_fd"

    def __init__(self, *, sigma: float = 0.01, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        check_number("sigma", sigma, above=0)
        self.sigma = sigma
        self.reduction: Reduction = reduction
        self._looked = False

    def forward(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c *size"],
        logits: Prediction | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty at real images.

        Args:
            discriminator: a network or function of images.
            real_data: real images, as the discriminator expects them.
            logits: those at ``real_data``, if they are known already in full precision.

        Raises:
            ValueError: ``logits`` were rounded to half precision.
        """
        check_images(real_data, "real_data")
        if logits is not None and not self._looked and not torch.compiler.is_compiling():
            self._looked = _check_unrounded(logits)  # waits for the device: once
        return finite_difference_penalty(
            discriminator, real_data, sigma=self.sigma, logits=logits, reduction=self.reduction
        )


class FiniteDifferenceR2(FiniteDifferenceR1):
    """R2 by finite differences at generated images; see `finite_difference_penalty`.

    Args:
        sigma: size of the step.
        reduction: over samples.
    """

    loss_name: ClassVar[str | None] = "loss_r2_fd"

    def forward(
        self,
        discriminator: Discriminator,
        fake_data: Float[Tensor, "b c *size"],
        logits: Prediction | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty at generated images.

        Args:
            discriminator: a network or function of images.
            fake_data: generated images; no gradient reaches the generator.
            logits: those at ``fake_data``, if they are known already in full precision.
        """
        check_images(fake_data, "fake_data")
        return super().forward(discriminator, fake_data, logits)
