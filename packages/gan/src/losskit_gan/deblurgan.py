"""AdvLoss: DeblurGAN-v2's adversarial losses, which run the discriminator themselves."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.errors import nearest
from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction, reduce_per_sample
from losskit_gan.adversarial.gan_loss import gan_loss
from losskit_gan.penalties.gradient_penalty import gradient_penalty_loss
from losskit_gan.penalties.input_gradients import Discriminator, check_images
from losskit_gan.predictions import Prediction, logits_per_scale, reduce_players

LossType: TypeAlias = Literal["wgan-gp", "lsgan", "gan", "ragan", "ragan-ls"]
LOSS_TYPES: tuple[str, ...] = get_args(LossType)
_Kind: TypeAlias = Literal["vanilla", "l1", "wgan"]
_KINDS: dict[str, _Kind] = {
    "gan": "vanilla",
    "lsgan": "l1",
    "wgan-gp": "wgan",
}
_POOL_SIZE = 50
_LAMBDA = 10.0


class PredictionPool(nn.Module):
    """The mean of the last ``size`` predictions, one per image.

    Only each prediction's mean is kept: that is all the losses look at. The pool is a buffer, so it
    is saved, moved and copied with the loss.

    Args:
        size: how many images' predictions.
    """

    means: Tensor
    count: Tensor

    def __init__(self, size: int = _POOL_SIZE) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def add(self, logits: Float[Tensor, "b ..."]) -> None:
        """Put a batch in; the oldest leave."""
        new = logits.detach().float().reshape(len(logits), -1).mean(1).to(self.means.device)
        size = len(self.means)
        # The newest stand last; places not yet filled stand first and hold zeros.
        self.means.copy_(torch.cat([self.means, new])[-size:])
        self.count.add_(len(new)).clamp_(max=size)

    def mean(self, otherwise: Float[Tensor, "b ..."]) -> Tensor:
        """The pool's mean, or that of ``otherwise`` while the pool is empty; without gradient."""
        pooled = self.means.sum() / self.count.clamp_min(1)
        value = torch.where(self.count > 0, pooled.to(otherwise), otherwise.detach().mean())
        return value.detach()


class AdvLoss(Loss):
    r"""Adversarial loss of one player on a pair of images, as DeblurGAN-v2 defines them.

    ============  ========================================================  =====================
    loss_type     discriminator                                             generator
    ============  ========================================================  =====================
    ``gan``       mean of the two cross-entropies                           cross-entropy to real
    ``lsgan``     mean of the two **absolute** distances to 1 and 0         distance to 1
                  (so in MMagic)
    ``wgan-gp``   $\overline{D(\tilde x)} - \overline{D(x)}$                $-\overline{D(\tilde x)}$
                  + 10 · WGAN-GP per pixel
    ``ragan``     cross-entropies relative to pools, halved                 labels exchanged
    ``ragan-ls``  squares relative to pools, halved                         signs exchanged
    ============  ========================================================  =====================

    The relativistic ones compare with the mean of the last 50 predictions of the other kind, which
    carries no gradient. The discriminator's calls fill the pools; before the first one the
    generator compares with its own batch.

    The loss knows no weight: as a term of its own its ``loss_weight`` counts for whichever player
    it is called for; as the ``gan_loss`` of a ``GANObjective``, for the generator only, like every
    other one.

    Args:
        loss_type: one of the above.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``loss_type`` or ``reduction`` is unknown.

    References:
        O. Kupyn et al., "DeblurGAN-v2", ICCV 2019, arXiv:1908.03826.
    """

    loss_name: ClassVar[str | None] = "loss_adv"

    def __init__(self, loss_type: LossType, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        if loss_type not in LOSS_TYPES:
            raise ValueError(
                f"loss_type must be one of {', '.join(LOSS_TYPES)}, not {loss_type!r}"
                + nearest(str(loss_type), LOSS_TYPES)
            )
        self.loss_type = loss_type
        if loss_type.startswith("ragan"):
            self.fake_pool = PredictionPool()
            self.real_pool = PredictionPool()

    def forward(
        self,
        net: Discriminator,
        fake: Float[Tensor, "b c h w"],
        real: Float[Tensor, "b c h w"],
        model: Literal["discriminator", "generator"] = "discriminator",
        fake_logits: Prediction | None = None,
        real_logits: Prediction | None = None,
    ) -> Float[Tensor, "..."]:
        """Run the discriminator on the images that the loss looks at and return one player's loss.

        Args:
            net: the discriminator; returns one tensor of logits.
            fake: generated images; detached for the discriminator.
            real: real images; the generator's loss looks at them only if it is relativistic, and
                then without a gradient: what it compares them with has none.
            model: whose loss it is.
            fake_logits: ``net(fake)``, if it is known already: saves a pass. For the discriminator,
                of detached images.
            real_logits: ``net(real)``, likewise.

        Returns:
            A scalar, or for ``"none"`` one value a sample; unbounded for ``wgan-gp``, else ≥ 0.

        Raises:
            TypeError: images are not floating-point tensors.
            ValueError: ``model`` is unknown, or the discriminator has several scales.
        """
        check_images(fake, "fake")
        check_images(real, "real")
        if model not in ("discriminator", "generator"):
            raise ValueError(f"model must be 'discriminator' or 'generator', not {model!r}")
        is_disc = model == "discriminator"
        if fake_logits is None:
            fake_logits = net(fake.detach() if is_disc else fake)
        relativistic = self.loss_type.startswith("ragan")
        if real_logits is None and (is_disc or relativistic):
            with torch.set_grad_enabled(is_disc and torch.is_grad_enabled()):
                real_logits = net(real)
        if relativistic:
            return self._relativistic(_one_scale(fake_logits), _one_scale(real_logits), is_disc)
        kind = _KINDS[self.loss_type]
        if not is_disc:
            return self._gan(fake_logits, True, kind, is_disc)
        assert real_logits is not None
        both = self._gan(fake_logits, False, kind, is_disc)
        both = both + self._gan(real_logits, True, kind, is_disc)
        if kind != "wgan":
            return both / 2
        return both + _LAMBDA * gradient_penalty_loss(net, real, fake, reduction=self.reduction)

    def _gan(self, logits: Prediction, target_is_real: bool, kind: _Kind, is_disc: bool) -> Tensor:
        values = gan_loss(logits, target_is_real, gan_type=kind, is_disc=is_disc, reduction="none")
        return reduce_per_sample(values, self.reduction)

    def _relativistic(self, on_fake: Tensor, on_real: Tensor, is_disc: bool) -> Tensor:
        if is_disc and self.training:
            self.fake_pool.add(on_fake)
            self.real_pool.add(on_real)
        above = on_real - self.fake_pool.mean(on_fake)
        below = on_fake - self.real_pool.mean(on_real)
        if self.loss_type == "ragan":
            real_part = self._gan(above, is_disc, "vanilla", False)
            return (real_part + self._gan(below, not is_disc, "vanilla", False)) / 2
        sign = 1 if is_disc else -1
        return reduce_players((above - sign).square(), (below + sign).square(), self.reduction) / 2


def _one_scale(prediction: Prediction | None) -> Tensor:
    scales = logits_per_scale(prediction, "net's output")  # type: ignore[arg-type] # None is refused there
    if len(scales) > 1:
        raise ValueError(f"net must return one tensor of logits, not {len(scales)} scales")
    return scales[0]
