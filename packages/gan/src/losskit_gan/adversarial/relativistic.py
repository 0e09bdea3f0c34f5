"""Relativistic losses: each image is judged against those of the other kind."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from losskit.errors import nearest
from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction, reduce_per_sample
from losskit_gan.adversarial.formulas import cross_entropy
from losskit_gan.predictions import Prediction, mean_over_scales, reduce_players

RelativisticKind: TypeAlias = Literal["rpgan", "ragan", "ralsgan"]
KINDS: tuple[str, ...] = get_args(RelativisticKind)
_NAMES = ("real_logits", "fake_logits")


def rpgan_discriminator_loss(
    real_logits: Prediction, fake_logits: Prediction, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""$\mathrm{softplus}(D(\tilde x) - D(x)) \ge 0$ for pairs: the i-th real with the i-th fake.

    Args:
        real_logits: of real images.
        fake_logits: of generated images, of the same shape.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar; ln 2 where both are judged alike.

    Raises:
        TypeError: a prediction holds no floating-point tensors.
        ValueError: the shapes differ.

    Example:
        >>> import torch
        >>> rpgan_discriminator_loss(torch.zeros(2), torch.zeros(2))
        tensor(0.6931)

    References:
        A. Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, arXiv:1807.00734;
        R3GAN: Y. Huang et al., NeurIPS 2024, eq. (2), arXiv:2501.05441.
    """
    paired = partial(_paired, reduction=reduction)
    return mean_over_scales(paired, real_logits, fake_logits, names=_NAMES)


def rpgan_generator_loss(
    real_logits: Prediction, fake_logits: Prediction, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""$\mathrm{softplus}(D(x) - D(\tilde x)) \ge 0$: see `rpgan_discriminator_loss`.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
    """
    paired = partial(_paired, sign=-1, reduction=reduction)
    return mean_over_scales(paired, real_logits, fake_logits, names=_NAMES)


def _paired(real: Tensor, fake: Tensor, *, sign: int = 1, reduction: Reduction) -> Tensor:
    if real.shape != fake.shape:
        raise ValueError(
            "paired logits must have one shape, not "
            f"{tuple(real.shape)} and {tuple(fake.shape)}; use 'ragan' for unequal batches"
        )
    return reduce_per_sample(F.softplus(sign * (fake - real)), reduction)


def ragan_discriminator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    *,
    real_label: float = 1.0,
    fake_label: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy of $D(x) - \overline{D(\tilde x)}$ to real and of the reverse to fake.

    The two parts are added as in the paper; ESRGAN's code halves the sum.

    Args:
        real_logits: of real images.
        fake_logits: of generated images; the batches may differ in size.
        real_label: label of real images; below 1 smooths.
        fake_label: label of generated images.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar ≥ 0; 2 ln 2 where all are judged alike.

    References:
        A. Jolicoeur-Martineau, ICLR 2019, eq. (9), arXiv:1807.00734.
    """

    def on_scale(real: Tensor, fake: Tensor) -> Tensor:
        on_real = cross_entropy(real - fake.mean(), label=real_label)
        on_fake = cross_entropy(fake - real.mean(), label=fake_label)
        return reduce_players(on_real, on_fake, reduction)

    return mean_over_scales(on_scale, real_logits, fake_logits, names=_NAMES)


def ragan_generator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    *,
    real_label: float = 1.0,
    fake_label: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """The same with the labels exchanged: see `ragan_discriminator_loss`.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.
        real_label: label of real images.
        fake_label: label of generated images.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
    """
    return ragan_discriminator_loss(
        real_logits, fake_logits, real_label=fake_label, fake_label=real_label, reduction=reduction
    )


def ralsgan_discriminator_loss(
    real_logits: Prediction, fake_logits: Prediction, *, reduction: Reduction = "mean"
) -> Tensor:
    r"""$(D(x)-\overline{D(\tilde x)}-1)^2 + (D(\tilde x)-\overline{D(x)}+1)^2 \ge 0$, without ½.

    Args:
        real_logits: of real images.
        fake_logits: of generated images; the batches may differ in size.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar; 2 where all are judged alike.

    References:
        A. Jolicoeur-Martineau, ICLR 2019, appendix, arXiv:1807.00734.
    """

    def on_scale(real: Tensor, fake: Tensor) -> Tensor:
        above = (real - fake.mean() - 1).square()
        below = (fake - real.mean() + 1).square()
        return reduce_players(above, below, reduction)

    return mean_over_scales(on_scale, real_logits, fake_logits, names=_NAMES)


def ralsgan_generator_loss(
    real_logits: Prediction, fake_logits: Prediction, *, reduction: Reduction = "mean"
) -> Tensor:
    """The same with real and fake exchanged: see `ralsgan_discriminator_loss`.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.
    """
    discriminator = partial(ralsgan_discriminator_loss, reduction=reduction)
    return mean_over_scales(
        discriminator, fake_logits, real_logits, names=("fake_logits", "real_logits")
    )


_DISCRIMINATOR = {
    "rpgan": rpgan_discriminator_loss,
    "ragan": ragan_discriminator_loss,
    "ralsgan": ralsgan_discriminator_loss,
}
_GENERATOR = {
    "rpgan": rpgan_generator_loss,
    "ragan": ragan_generator_loss,
    "ralsgan": ralsgan_generator_loss,
}


class RelativisticGANLoss(Loss):
    """A relativistic loss for both players, as a ``gan_loss``.

    A term's ``loss_weight`` counts for the generator only, as ``GANLoss``'s does.

    Args:
        kind: ``"rpgan"`` (paired, R3GAN's), ``"ragan"`` (ESRGAN's) or ``"ralsgan"``.
        real_label_val: label of real images, for ``ragan``.
        fake_label_val: label of generated images, for ``ragan``.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``, for which the averages' kinds
            need as many generated as real images.

    Raises:
        ValueError: ``kind`` or ``reduction`` is unknown, or labels are given to a kind that has none.

    Example:
        >>> import torch
        >>> RelativisticGANLoss(kind="ragan").generator(torch.zeros(2), torch.zeros(3))
        tensor(1.3863)
    """

    loss_name: ClassVar[str | None] = "loss_relativistic_gan"

    def __init__(
        self,
        *,
        kind: RelativisticKind = "rpgan",
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if kind not in KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)}, not {kind!r}{nearest(str(kind), KINDS)}"
            )
        if kind != "ragan" and (real_label_val, fake_label_val) != (1.0, 0.0):
            raise ValueError(
                f"kind={kind!r} has no labels: leave out real_label_val={real_label_val!r} and "
                f"fake_label_val={fake_label_val!r}"
            )
        self.kind = kind
        labels = {"real_label": real_label_val, "fake_label": fake_label_val}
        self._options: dict[str, Any] = {
            **(labels if kind == "ragan" else {}),
            "reduction": reduction,
        }

    def discriminator(self, real_logits: Prediction, fake_logits: Prediction) -> Tensor:
        """The discriminator's loss."""
        return _DISCRIMINATOR[self.kind](real_logits, fake_logits, **self._options)

    def generator(self, real_logits: Prediction, fake_logits: Prediction) -> Tensor:
        """The generator's loss."""
        return _GENERATOR[self.kind](real_logits, fake_logits, **self._options)

    def forward(
        self, real_logits: Prediction, fake_logits: Prediction, is_disc: bool = False
    ) -> Tensor:
        """The loss of the discriminator or of the generator.

        Args:
            real_logits: the discriminator's of real images, unbounded; a tensor or scales.
            fake_logits: of generated images.
            is_disc: whether the discriminator is trained.

        Returns:
            A scalar ≥ 0, or for ``"none"`` one value a sample.
        """
        player = self.discriminator if is_disc else self.generator
        return player(real_logits, fake_logits)

    def weigh(self, value: Tensor, weight: float | Tensor, /, **inputs: Any) -> Tensor:
        """Leave the weight out for the discriminator: it balances the generator's terms."""
        return value if inputs.get("is_disc") else value * weight
