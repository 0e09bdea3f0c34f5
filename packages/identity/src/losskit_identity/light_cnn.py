"""LightCNN feature loss (Wu et al., TIFS 2018, arXiv:1511.02683; as in DIC, CVPR 2020, arXiv:2003.13063)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones import FeatureNetwork, shared_backbone
from losskit.errors import WeightsError, nearest
from losskit.losses.base import Loss
from losskit.losses.checks import check_rgb
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape, reduce
from losskit.text import one_line
from losskit.weights import load_weights, random_seed

Criterion = Literal["l1", "mse"]
_CRITERIA = ("l1", "mse")
DEFAULT_WEIGHTS = "light-cnn-dic"


class _MaxFeature(nn.Module):
    """A convolution of twice the channels, of which the larger of each pair survives."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, 2 * outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.filter(x).chunk(2, 1)
        return torch.maximum(first, second)


class LightCNN(FeatureNetwork):
    """LightCNN-9's convolutions, for RGB faces of 128x128 (other sizes work).

    Its state dict is that of MMagic's checkpoints (``features.0.filter.weight``, ...). Layers:
    ``"pool1"`` to ``"pool4"``.
    """

    layer_names = ("pool1", "pool2", "pool3", "pool4")
    _POOLS = (1, 4, 7, 12)

    def __init__(self) -> None:
        super().__init__()

        def pool() -> nn.Module:
            return nn.MaxPool2d(2, 2, ceil_mode=True)

        self.features = nn.Sequential(
            _MaxFeature(3, 48, 5),
            pool(),
            _MaxFeature(48, 48, 1),
            _MaxFeature(48, 96, 3),
            pool(),
            _MaxFeature(96, 96, 1),
            _MaxFeature(96, 192, 3),
            pool(),
            _MaxFeature(192, 192, 1),
            _MaxFeature(192, 128, 3),
            _MaxFeature(128, 128, 1),
            _MaxFeature(128, 128, 3),
            pool(),
        )

    def forward(
        self, image: Float[Tensor, "b 3 h w"], layers: tuple[str, ...] = ("pool4",)
    ) -> tuple[Tensor, ...]:
        """The activations of ``layers``."""
        found: dict[str, Tensor] = {}
        x, first = image, 0
        for name, index in zip(self.layer_names, self._POOLS, strict=True):
            x = self.features[first : index + 1](x)
            found[name], first = x, index + 1
            if found.keys() >= set(layers):
                break
        return tuple(found[name] for name in layers)


def build_light_cnn(weights: str) -> LightCNN:
    """The network with weights by name or path, or random ones.

    Raises:
        WeightsError: the file is missing or does not fit.
    """
    seed = random_seed(weights)
    if seed is not None:
        torch.manual_seed(seed)
        return LightCNN()
    network = LightCNN()
    # The discriminator's head is not part of the features.
    state = {k: v for k, v in load_weights(weights).items() if not k.startswith("classifier.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{weights!r} does not fit LightCNN: {one_line(error)[:300]}") from error
    return network


def light_cnn_feature_loss(
    pred: Float[Tensor, " b *shape"],
    target: Float[Tensor, " b *shape"],
    *,
    criterion: Criterion = "l1",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    r"""The distance of two feature tensors, $|p - t|$ or $(p - t)^2$ averaged per sample.

    Args:
        pred: features of any shape; these receive the gradient.
        target: of the same shape; no gradient.
        criterion: ``"l1"`` or ``"mse"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over samples.

    Returns:
        A scalar, or for ``"none"`` one value per sample; 0 where they are equal.

    Raises:
        ValueError: shapes differ, or an option is unknown.
    """
    check_reduction(reduction)
    _check_criterion(criterion)
    check_same_shape(pred, target)
    dtype = torch.promote_types(pred.dtype, torch.float32)
    pair = (pred.to(dtype), target.detach().to(dtype))
    distance = F.l1_loss if criterion == "l1" else F.mse_loss
    return reduce(distance(*pair, reduction="none").flatten(1).mean(-1), reduction)


def _check_criterion(criterion: str) -> None:
    if criterion not in _CRITERIA:
        raise ValueError(
            f"criterion must be 'l1' or 'mse', not {criterion!r}{nearest(str(criterion), _CRITERIA)}"
        )


class LightCNNFeatureLoss(Loss):
    """The distance of two faces in LightCNN's last feature map.

    Args:
        weights: a name, a checkpoint's path, or ``"random"``. By default ``"light-cnn-dic"``, the
            network that MMagic trains DIC with (``losskit weights pull light-cnn-dic``; nobody
            publishes its checksum, so that of the first file is recorded).
        criterion: ``"l1"`` or ``"mse"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.

    Raises:
        ValueError: an option is unknown.
        WeightsError: the weights cannot be had.
    """

    loss_name: ClassVar[str | None] = "loss_light_cnn"

    def __init__(
        self,
        *,
        weights: str | Path = DEFAULT_WEIGHTS,
        criterion: Criterion = "l1",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        _check_criterion(criterion)
        if not isinstance(weights, (str, Path)):
            raise TypeError(f"weights must be a name, a path or 'random', not {weights!r}")
        self.backbone = shared_backbone(build_light_cnn, str(weights), layers="pool4")
        self.criterion: Criterion = criterion
        self.reduction: Reduction = reduction

    def forward(
        self, pred: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "..."]:
        """Compare faces.

        Args:
            pred: in the range the checkpoint was trained with, which for ``"light-cnn-dic"`` is
                (RGB − (129.795, 108.12, 96.39)) / 255; receives the gradient.
            target: of the same shape and range; no gradient.

        Returns:
            A scalar, or for ``"none"`` one value per image; 0 where they are equal.

        Raises:
            ValueError: shapes differ, or are not ``(b, 3, h, w)``.
            TypeError: an image is no floating-point tensor.
        """
        check_rgb("pred", pred)
        check_rgb("target", target)
        check_same_shape(pred, target)
        return light_cnn_feature_loss(
            self.backbone.features(pred)["pool4"],
            self.backbone.features(target, grad=False)["pool4"],
            criterion=self.criterion,
            reduction=self.reduction,
        )
