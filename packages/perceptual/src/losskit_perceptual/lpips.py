"""LPIPS: a perceptual distance calibrated on people's judgement (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from torch import Tensor

from losskit.backbones.trunk import Mode, Precision
from losskit.errors import WeightsError
from losskit.losses.data_range import DataRange
from losskit.losses.reduction import Reduction
from losskit.weights import load_weights
from losskit_perceptual.features import check_choice
from losskit_perceptual.networks.families import find_recipe
from losskit_perceptual.networks.shipped import shipped_path
from losskit_perceptual.normalized_features import LAYERS, UnitFeatureLoss

Net: TypeAlias = Literal["alex", "vgg", "squeeze"]

#: torchvision's names of the published networks.
NETS: Mapping[str, str] = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


class LPIPS(UnitFeatureLoss):
    r"""Learned perceptual image patch similarity, version 0.1: lower is more alike.

    The calibrated heads are those that torchmetrics ships, bit-identical to the authors'. They and
    the network are frozen and in evaluation mode for good. Images are in [0, 1] by default, where
    the ``lpips`` package takes [-1, 1]: say ``data_range=(-1, 1)`` for those. A warning, once, tells
    of images that cannot be in the range given.

    Args:
        net: ``"alex"`` (closest to people's judgement), ``"vgg"`` (closest to a classic perceptual
            loss; needs 16 pixels), ``"squeeze"``.
        weights: of the network: ``"default"`` (ImageNet's), ``"random"``, ``"random:SEED"``, or a path.
        data_range: the images' range: 1, 255 or a pair.
        spatial: give a map instead of a value.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"`` for one value (or map) a sample.
        heads: a path to other heads, in the published files' format.
        precision: ``None``, ``"bf16"`` or ``"fp16"``, for the network only.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: an option is unknown.
        WeightsError: the weights cannot be had.

    References:
        Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of Deep Features as a
        Perceptual Metric, CVPR 2018, arXiv:1801.03924.
    """

    def __init__(
        self,
        *,
        net: Net = "alex",
        weights: str | Path = "default",
        data_range: DataRange = 1.0,
        spatial: bool = False,
        reduction: Reduction = "mean",
        heads: str | Path = "default",
        precision: Precision | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        check_choice("net", net, tuple(NETS))
        backbone = NETS[net]
        layers = LAYERS[backbone]
        recipe, mode = find_recipe(backbone, weights), Mode(None, precision, channels_last, compile)
        super().__init__(recipe, layers, data_range, mode, reduction)
        self.net = net
        self.spatial = spatial
        if heads == "default":
            heads = shipped_path(f"lpips-{net}", instead="heads= a path to the published file")
        state = load_weights(heads)
        for index in range(len(layers)):
            key = f"lin{index}.model.1.weight"
            if key not in state:
                raise WeightsError(f"the heads for {net!r} lack {key!r}")
            # Buffers, so that they are no parameters; not persistent: checkpoints need not carry them.
            self.register_buffer(f"head{index}", state[key].float(), persistent=False)

    def layer_factors(self) -> list[Tensor | float]:
        """The calibrated heads."""
        return [self.get_buffer(f"head{index}") for index in range(len(self.backbone.layers))]
