"""GANLoss: one player's loss on one prediction, as configs name it."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from losskit.errors import nearest
from losskit.losses.base import Loss
from losskit.losses.checks import check_number
from losskit.losses.reduction import Reduction, check_reduction, reduce
from losskit_gan.adversarial.formulas import cross_entropy
from losskit_gan.adversarial.smgan import smgan_loss
from losskit_gan.predictions import Prediction, mean_over_scales

GanType: TypeAlias = Literal["vanilla", "lsgan", "wgan", "wgan-logistic-ns", "hinge", "l1", "smgan"]
GAN_TYPES: tuple[str, ...] = get_args(GanType)
_WITHOUT_LABELS = ("wgan", "wgan-logistic-ns", "hinge")


def _check_gan_type(gan_type: str) -> None:
    if gan_type not in GAN_TYPES:
        raise ValueError(
            f"gan_type must be one of {', '.join(GAN_TYPES)}, not {gan_type!r}"
            + nearest(str(gan_type), GAN_TYPES)
        )


def _unreduced(logits: Tensor, real: bool, is_disc: bool, gan_type: str, label: float) -> Tensor:
    sign = -1.0 if real else 1.0
    if gan_type == "wgan":
        return sign * logits
    if gan_type == "wgan-logistic-ns":
        return F.softplus(sign * logits)
    if gan_type == "hinge":
        return F.relu(1 + sign * logits) if is_disc else -logits
    if gan_type == "vanilla":
        return cross_entropy(logits, label=label)
    distance = logits - label
    return distance.abs() if gan_type == "l1" else distance.square()


def gan_loss(
    input: Prediction,
    target_is_real: bool,
    *,
    gan_type: GanType,
    is_disc: bool = False,
    mask: Tensor | None = None,
    real_label_val: float = 1.0,
    fake_label_val: float = 0.0,
    elementwise_mask: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""One player's adversarial loss on one prediction.

    ========================  ===================================  =====================
    ``gan_type``              real                                 fake
    ========================  ===================================  =====================
    ``vanilla``               cross-entropy to ``real_label_val``  … to ``fake_label_val``
    ``lsgan`` (no ½), ``l1``  distance to ``real_label_val``       … to ``fake_label_val``
    ``wgan``                  $-D$                                 $D$
    ``wgan-logistic-ns``      softplus(−D)                         softplus(D)
    ``hinge``, discriminator  max(0, 1−D)                          max(0, 1+D)
    ``hinge``, generator      $-D$                                 $-D$
    ``smgan``                 see `smgan_loss`                     see `smgan_loss`
    ========================  ===================================  =====================

    For both players at once, see ``losskit_gan.adversarial.formulas`` (``hinge_discriminator_loss``).

    Args:
        input: logits: a tensor; a list, one per scale; or a list of feature lists that end with the
            logits. Scales are averaged.
        target_is_real: which label is wanted; the generator wants its images called real.
        gan_type: one of the above.
        is_disc: whether the discriminator is trained.
        mask: 1 in the hole, ``(b, 1, h, w)``; used by ``smgan`` alone.
        real_label_val: label of real images, for the kinds that have labels.
        fake_label_val: label of generated images.
        elementwise_mask: ``smgan`` as in the paper instead of as MMagic computes it.
        reduction: ``"none"`` gives a value per logit.

    Returns:
        A scalar, or a tensor of the logits' shape (``smgan``: of the mask's).

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``gan_type`` or ``reduction`` is unknown, or ``smgan`` lacks its mask.

    Example:
        >>> import torch
        >>> gan_loss(torch.tensor([2.0, -1.0]), True, gan_type="hinge", is_disc=True)
        tensor(1.)
    """
    _check_gan_type(gan_type)
    check_reduction(reduction)
    if not isinstance(target_is_real, (bool, int)):
        raise TypeError(
            f"target_is_real must be True or False, not {type(target_is_real).__name__}"
        )
    label = real_label_val if target_is_real else fake_label_val

    def on_scale(logits: Tensor) -> Tensor:
        if gan_type == "smgan":
            values = smgan_loss(
                logits,
                bool(target_is_real),
                mask,  # type: ignore[arg-type] # None is refused there
                is_disc=is_disc,
                real_label=real_label_val,
                fake_label=fake_label_val,
                elementwise=elementwise_mask,
            )
        else:
            values = _unreduced(logits, bool(target_is_real), is_disc, gan_type, label)
        return reduce(values, reduction)

    return mean_over_scales(on_scale, input, names=("input",))


class GANLoss(Loss):
    """One player's adversarial loss on one prediction; see `gan_loss`.

    A term's ``loss_weight`` counts for the generator only: ``is_disc=True`` leaves it out.

    Args:
        gan_type: ``"vanilla"``, ``"lsgan"``, ``"wgan"``, ``"wgan-logistic-ns"``, ``"hinge"``,
            ``"l1"`` or ``"smgan"``.
        real_label_val: label of real images.
        fake_label_val: label of generated images.
        elementwise_mask: ``smgan`` as in the paper instead of as MMagic computes it.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: an option is unknown.

    Example:
        >>> import torch
        >>> GANLoss("lsgan")(torch.tensor([0.5]), True)
        tensor(0.2500)
    """

    loss_name: ClassVar[str | None] = "loss_gan"

    def __init__(
        self,
        gan_type: GanType,
        *,
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        elementwise_mask: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _check_gan_type(gan_type)
        check_reduction(reduction)
        check_number("real_label_val", real_label_val)
        check_number("fake_label_val", fake_label_val)
        if gan_type in _WITHOUT_LABELS and (real_label_val, fake_label_val) != (1.0, 0.0):
            # MMagic takes them in silence; a config written for it must still build.
            warnings.warn(
                f"gan_type={gan_type!r} has no labels: real_label_val={real_label_val!r} and "
                f"fake_label_val={fake_label_val!r} have no effect",
                UserWarning,
                stacklevel=2,
            )
        self.gan_type = gan_type
        self.real_label_val = real_label_val
        self.fake_label_val = fake_label_val
        self.elementwise_mask = elementwise_mask
        self.reduction: Reduction = reduction

    def forward(
        self,
        input: Prediction,
        target_is_real: bool,
        is_disc: bool = False,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The loss; arguments as of `gan_loss`."""
        return gan_loss(
            input,
            target_is_real,
            gan_type=self.gan_type,
            is_disc=is_disc,
            mask=mask,
            real_label_val=self.real_label_val,
            fake_label_val=self.fake_label_val,
            elementwise_mask=self.elementwise_mask,
            reduction=self.reduction,
        )

    def weigh(self, value: Tensor, weight: float | Tensor, /, **inputs: Any) -> Tensor:
        """Leave the weight out for the discriminator: it balances the generator's terms."""
        return value if inputs.get("is_disc") else value * weight
