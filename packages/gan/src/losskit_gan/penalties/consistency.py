"""Consistency regularisation: the discriminator judges an image and its shifted self alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.checks import check_number
from losskit.losses.reduction import Reduction, check_reduction, reduce_per_sample
from losskit_gan.penalties.input_gradients import Discriminator, check_images, unwrapped
from losskit_gan.predictions import Prediction, mean_over_scales


def flip_and_shift(
    images: Float[Tensor, "b c h w"], *, shift: int = 4, flip: bool = True
) -> Float[Tensor, "b c h w"]:
    """Flip each image with probability ½ and move it by up to ``shift`` pixels.

    The augmentation of CR and bCR. Borders are reflected.

    Args:
        images: any values.
        shift: largest shift in each direction, in pixels; below the images' size.
        flip: whether to mirror left and right.

    Returns:
        Images of the same shape; differentiable.

    Raises:
        ValueError: the images are not ``(b, c, h, w)``, or ``shift`` is negative or not below
            their size.
    """
    if images.ndim != 4:
        raise ValueError(f"images must have shape (b, c, h, w), not {tuple(images.shape)}")
    b, _, h, w = images.shape
    if not 0 <= shift < min(h, w):
        raise ValueError(f"shift must be at least 0 and below the image's size, not {shift!r}")
    if flip:
        mirrored = torch.rand(b, 1, 1, 1, device=images.device) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    if not shift:
        return images
    padded = F.pad(images, (shift,) * 4, mode="reflect")
    offsets = torch.randint(0, 2 * shift + 1, (2, b, 1), device=images.device)
    rows = offsets[0] + torch.arange(h, device=images.device)
    columns = offsets[1] + torch.arange(w, device=images.device)
    sample = torch.arange(b, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def consistency_loss(
    discriminator: Discriminator,
    images: Float[Tensor, "b c h w"],
    *,
    augment: Callable[[Tensor], Tensor] = flip_and_shift,
    logits: Prediction | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\overline{(D(x) - D(T(x)))^2} \ge 0$; 0 for a discriminator that T does not fool.

    Args:
        discriminator: a network or function of images.
        images: real images (CR), or generated ones too (bCR); detached.
        augment: T, a function of a batch of images.
        logits: D(x), if it is known already: saves a pass.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` one value a sample.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the images do not fit ``augment``, whose default takes ``(b, c, h, w)``.

    References:
        H. Zhang et al., "Consistency Regularization for GANs", ICLR 2020 (λ = 10),
        arXiv:1910.12027.
    """
    check_images(images, "images")
    images = images.detach()
    moved = augment(images)
    network = unwrapped(discriminator, compiled=False)
    if logits is None:
        logits = network(images)
    augmented = network(moved)

    def on_scale(before: Tensor, after: Tensor) -> Tensor:
        return reduce_per_sample((before - after).square(), reduction)

    return mean_over_scales(on_scale, logits, augmented, names=("logits", "discriminator's output"))


class ConsistencyLoss(Loss):
    """CR: consistency at real images under flips and shifts; see `consistency_loss`.

    Args:
        shift: largest shift, in pixels.
        flip: whether to mirror left and right.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``shift`` is no whole number, or negative, or ``reduction`` is unknown.
    """

    loss_name: ClassVar[str | None] = "loss_consistency"

    def __init__(self, *, shift: int = 4, flip: bool = True, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        if not isinstance(shift, Integral) or shift < 0:
            raise ValueError(f"shift must be a whole number of at least 0, not {shift!r}")
        self.shift: int = shift
        self.flip: bool = flip

    def _loss(
        self, discriminator: Discriminator, images: Tensor, logits: Prediction | None
    ) -> Tensor:
        return consistency_loss(
            discriminator,
            images,
            augment=partial(flip_and_shift, shift=self.shift, flip=self.flip),
            logits=logits,
            reduction=self.reduction,
        )

    def forward(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c h w"],
        real_logits: Prediction | None = None,
    ) -> Float[Tensor, "..."]:
        """The loss at real images.

        Args:
            discriminator: a network or function of images.
            real_data: real images.
            real_logits: the discriminator's of ``real_data``, if they are known already.
        """
        check_images(real_data, "real_data")
        return self._loss(discriminator, real_data, real_logits)


class BalancedConsistencyLoss(ConsistencyLoss):
    """bCR: consistency at real and at generated images, as two components.

    Args:
        shift: largest shift, in pixels.
        flip: whether to mirror left and right.
        real_weight: of the part at real images; the paper's λ_real = 10.
        fake_weight: of the part at generated images; λ_fake = 10.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    References:
        Z. Zhao et al., "Improved Consistency Regularization for GANs", AAAI 2021,
        arXiv:2002.04724.
    """

    loss_name: ClassVar[str | None] = "loss_bcr"

    def __init__(
        self,
        *,
        shift: int = 4,
        flip: bool = True,
        real_weight: float = 10.0,
        fake_weight: float = 10.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(shift=shift, flip=flip, reduction=reduction)
        check_number("real_weight", real_weight, least=0)
        check_number("fake_weight", fake_weight, least=0)
        self.real_weight = real_weight
        self.fake_weight = fake_weight

    def components(
        self,
        discriminator: Discriminator,
        real_data: Float[Tensor, "b c h w"],
        fake_data: Float[Tensor, "b c h w"],
        real_logits: Prediction | None = None,
        fake_logits: Prediction | None = None,
    ) -> dict[str, Tensor]:
        """The parts at real and at generated images, weighted.

        Args:
            discriminator: a network or function of images.
            real_data: real images.
            fake_data: generated images; no gradient reaches the generator.
            real_logits: the discriminator's of ``real_data``, if they are known already.
            fake_logits: of ``fake_data``.

        Returns:
            ``real`` and ``fake``, each ≥ 0.

        Raises:
            TypeError: images are not floating-point tensors.
        """
        check_images(real_data, "real_data")
        check_images(fake_data, "fake_data")
        real = self._loss(discriminator, real_data, real_logits)
        fake = self._loss(discriminator, fake_data, fake_logits)
        return {"real": self.real_weight * real, "fake": self.fake_weight * fake}

    forward = Loss.forward
