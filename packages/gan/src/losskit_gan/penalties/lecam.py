"""LeCam regularisation, for GANs trained on few images."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.losses.base import Loss
from losskit.losses.reduction import Reduction, check_reduction
from losskit_gan.distributed import mean_over_ranks
from losskit_gan.predictions import Prediction, logits_per_scale, mean_over_scales, reduce_players


def lecam_penalty(
    real_logits: Prediction,
    fake_logits: Prediction,
    real_anchor: Tensor | float,
    fake_anchor: Tensor | float,
    *,
    one_sided: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$\overline{(D(x) - \alpha_F)^2} + \overline{(D(\tilde x) - \alpha_R)^2} \ge 0$.

    Args:
        real_logits: the discriminator's of real images.
        fake_logits: of generated ones.
        real_anchor: α_R, the moving average of the logits of real images.
        fake_anchor: α_F, that of generated ones.
        one_sided: as the authors' code has it and the paper has not: only
            $\max(0, D(x) - \alpha_F)$ and $\max(0, \alpha_R - D(\tilde x))$ are squared.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or for ``"none"`` one value a sample.

    Raises:
        TypeError: a prediction holds no floating-point tensors.
        ValueError: ``reduction`` is unknown, or ``"none"`` with more images of one kind.

    Example:
        >>> lecam_penalty(torch.tensor([1.0]), torch.tensor([-1.0]), 0.5, -0.5)  # 1.5² + 1.5²
        tensor(4.5000)

    References:
        H.-Y. Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data",
        CVPR 2021, eq. (4), arXiv:2104.03310.
    """

    def on_scale(real: Tensor, fake: Tensor) -> Tensor:
        above, below = real - fake_anchor, real_anchor - fake
        if one_sided:
            above, below = above.relu(), below.relu()
        return reduce_players(above.square(), below.square(), reduction)

    return mean_over_scales(
        on_scale, real_logits, fake_logits, names=("real_logits", "fake_logits")
    )


class LeCamLoss(Loss):
    """LeCam regularisation with its moving averages; see `lecam_penalty`.

    The averages are buffers, saved with the objective. In training mode each call moves them by its
    own batch first, as the authors' code does; the first call sets them. The paper's weights are
    0.01 to 0.3; a term's ``start`` waits, as the authors do, until the averages mean something.

    Args:
        decay: how much of the old average is kept; 0.99 in the paper.
        one_sided: the form of the authors' code.
        sync: average over the ranks of a distributed run.
        anchors: the averages to start from, of real and of generated images; ``None``: the first
            batch's.
        reduction: over samples: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ValueError: ``decay`` is not in [0, 1), ``anchors`` are not two, or ``reduction`` is unknown.
    """

    loss_name: ClassVar[str | None] = "loss_lecam"
    #: What moves with a batch's mean, and so may be moved once by a batch that is seen in parts.
    batch_averages: ClassVar[tuple[str, ...]] = ("real_anchor", "fake_anchor", "updates")
    real_anchor: Tensor
    fake_anchor: Tensor
    updates: Tensor

    def __init__(
        self,
        *,
        decay: float = 0.99,
        one_sided: bool = False,
        sync: bool = True,
        anchors: tuple[float, float] | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, not {decay!r}")
        self.decay = decay
        self.one_sided = one_sided
        self.sync = sync
        if anchors is not None and (not isinstance(anchors, (list, tuple)) or len(anchors) != 2):
            raise ValueError(f"anchors must be two numbers (real, fake) or None, not {anchors!r}")
        real, fake = anchors or (0.0, 0.0)
        self.register_buffer("real_anchor", torch.tensor(float(real)))
        self.register_buffer("fake_anchor", torch.tensor(float(fake)))
        self.register_buffer("updates", torch.tensor(0 if anchors is None else 1))

    def forward(self, real_logits: Prediction, fake_logits: Prediction) -> Float[Tensor, "..."]:
        """The penalty; arguments as of `lecam_penalty`."""
        if self.training:
            self._update(real_logits, fake_logits)
        # Clones: the buffers change in place before backward() if the loss is called again.
        return lecam_penalty(
            real_logits,
            fake_logits,
            self.real_anchor.clone(),
            self.fake_anchor.clone(),
            one_sided=self.one_sided,
            reduction=self.reduction,
        )

    @torch.no_grad()
    def _update(self, real_logits: Prediction, fake_logits: Prediction) -> None:
        for anchor, prediction, name in (
            (self.real_anchor, real_logits, "real_logits"),
            (self.fake_anchor, fake_logits, "fake_logits"),
        ):
            scales = logits_per_scale(prediction, name)
            mean = torch.stack([scale.detach().mean() for scale in scales]).mean()
            mean = (mean_over_ranks(mean) if self.sync else mean).to(anchor)
            anchor.copy_(torch.where(self.updates > 0, anchor.lerp(mean, 1 - self.decay), mean))
        self.updates.add_(1)
