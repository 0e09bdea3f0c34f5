"""DISTS: structure and texture of features (Ding et al., TPAMI 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from losskit.backbones import BackboneRecipe
from losskit.backbones.trunk import Mode, Precision
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction, reduce
from losskit.weights import load_weights
from losskit_perceptual.feature_loss import FeatureLoss
from losskit_perceptual.networks.dists import CHANNELS, DistsNetwork, build_dists
from losskit_perceptual.networks.pretrained import check_weights
from losskit_perceptual.networks.shipped import shipped_path

_C1 = _C2 = 1e-6


def dists_distance(
    pred: Sequence[Float[Tensor, "b _ _ _"]],
    target: Sequence[Float[Tensor, "b _ _ _"]],
    alpha: Sequence[Float[Tensor, " _"]],
    beta: Sequence[Float[Tensor, " _"]],
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""$1 - \sum_{l,c} (\alpha\, l(\mu, \hat\mu) + \beta\, s(\sigma, \hat\sigma))$ over layers.

    Texture $l$ compares the channels' means, structure $s$ their covariance; both as in SSIM, over
    the whole image.

    Args:
        pred: features by layer.
        target: of the same shapes; the caller sees to it that they take no gradient.
        alpha: per layer and channel; all ``alpha`` and ``beta`` together add up to 1.
        beta: the same.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.

    Returns:
        Between 0, where the features are equal, and 2.
    """
    similarity: Tensor | None = None
    for fake, real, texture, structure in zip(pred, target, alpha, beta, strict=True):
        dtype = torch.promote_types(fake.dtype, torch.float32)
        x, y = fake.to(dtype).flatten(2), real.to(dtype).flatten(2)
        mean_x, mean_y = x.mean(2), y.mean(2)
        # Of centred features: E[xy] - E[x]E[y] would cancel in float32.
        x, y = x - mean_x[..., None], y - mean_y[..., None]
        var_x, var_y, cov = x.square().mean(2), y.square().mean(2), (x * y).mean(2)
        means = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
        shapes = (2 * cov + _C2) / (var_x + var_y + _C2)
        value = (texture.to(means) * means + structure.to(means) * shapes).sum(1)
        similarity = value if similarity is None else similarity + value
    assert similarity is not None
    return reduce(1 - similarity, reduction)


class DISTS(FeatureLoss):
    """Deep image structure and texture similarity: lower is more alike, tolerant of texture.

    The weights of its terms are those that torchmetrics ships (the authors').

    Args:
        weights: of VGG-16: ``"default"`` (ImageNet's), ``"random"``, ``"random:SEED"``, or a path.
        data_range: the images' range: 1, 255 or a pair.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: an option is unknown.
        WeightsError: the weights cannot be had.

    References:
        Ding, Ma, Wang, Simoncelli, Image Quality Assessment: Unifying Structure and Texture
        Similarity, TPAMI 2020, arXiv:2004.07728.
    """

    def __init__(
        self,
        *,
        weights: str | Path = "default",
        data_range: DataRange = 1.0,
        reduction: Reduction = "mean",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_weights("vgg16", weights)
        recipe = BackboneRecipe(build_dists, (weights,))
        mode = Mode(None, precision, channels_last, compile)
        super().__init__(recipe, DistsNetwork.layer_names, data_range, mode, reduction)
        state = load_weights(shipped_path("dists"))
        alpha, beta = (state[name].detach().float().flatten() for name in ("alpha", "beta"))
        total = alpha.sum() + beta.sum()
        # Buffers, so that they are no parameters; not persistent: checkpoints need not carry them.
        self.register_buffer("alpha", alpha / total, persistent=False)
        self.register_buffer("beta", beta / total, persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare images.

        Args:
            pred: an RGB batch ``(b, 3, h, w)`` in ``data_range``.
            target: of the same shape; gets no gradient.

        Returns:
            A scalar, or ``(b,)`` for ``reduction="none"``; at least 0, and 0 where they are equal.

        Raises:
            ValueError: shapes do not fit.
            TypeError: an image is no floating point tensor.
        """
        fake, real = self.features(pred, target)
        return dists_distance(
            list(fake.values()),
            list(real.values()),
            self.get_buffer("alpha").split(CHANNELS),
            self.get_buffer("beta").split(CHANNELS),
            reduction=self.reduction,
        )
