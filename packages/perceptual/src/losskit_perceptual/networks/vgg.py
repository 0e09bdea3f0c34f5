"""VGG's convolutional part, layer by layer (Simonyan and Zisserman, arXiv:1409.1556)."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from losskit.backbones import BackboneRecipe
from losskit.errors import nearest
from losskit_perceptual.networks.pretrained import check_weights, load_into, norm_of, seed_for
from losskit_perceptual.networks.sequential import SequentialNetwork

#: Convolutions per block; the blocks have 64, 128, 256, 512 and 512 channels.
DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
NAMES = tuple(DEPTHS) + tuple(f"{name}_bn" for name in DEPTHS)
_CHANNELS = (64, 128, 256, 512, 512)


class VggNetwork(SequentialNetwork):
    """The ``features`` of a torchvision VGG; layers go by index (``"16"``) or name (``"relu3_3"``).

    Args:
        name: ``"vgg11"`` to ``"vgg19"``, with or without ``_bn``.
    """

    def __init__(self, name: str = "vgg19") -> None:
        aliases = layer_names(name)
        layers: list[nn.Module] = []
        channels = 3
        for alias in aliases:
            kind, block = (
                alias.rstrip("0123456789_"),
                int(alias.lstrip("abcdefghijklmnopqrstuvwxyz")[0]),
            )
            if kind == "conv":
                layers.append(nn.Conv2d(channels, _CHANNELS[block - 1], 3, padding=1))
                channels = _CHANNELS[block - 1]
            elif kind == "bn":
                layers.append(nn.BatchNorm2d(channels))
            else:
                layers.append(nn.ReLU() if kind == "relu" else nn.MaxPool2d(2, 2))
        super().__init__(nn.Sequential(*layers))
        self.name = name
        self.aliases = aliases
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def resolve(self, layer: str) -> str:
        """An index as it is; a name as its index."""
        if layer in self.aliases:
            return str(self.aliases.index(layer))
        layer = layer.removeprefix("features.")
        if layer not in self.layer_names:
            raise ValueError(
                f"{self.name} has no layer {layer!r}{nearest(layer, self.aliases)}; it has indices "
                f"0 to {len(self.aliases) - 1} and names {', '.join(self.aliases)}"
            )
        return layer


def layer_names(name: str) -> tuple[str, ...]:
    """``("conv1_1", "relu1_1", ..., "pool5")``, in the order of torchvision's ``features``.

    Raises:
        ValueError: this is no VGG.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is no VGG{nearest(name, NAMES)}; there are {', '.join(NAMES)}")
    kinds = ("conv", "bn", "relu") if name.endswith("_bn") else ("conv", "relu")
    names: list[str] = []
    for block, depth in enumerate(DEPTHS[name.removesuffix("_bn")], start=1):
        names += [f"{kind}{block}_{number}" for number in range(1, depth + 1) for kind in kinds]
        names.append(f"pool{block}")
    return tuple(names)


def build_vgg(name: str, weights: str | Path) -> VggNetwork:
    """Make a VGG; for ``shared_backbone``."""
    seed_for(weights)
    network = VggNetwork(name)
    load_into(network.features, name, weights, prefix="features.")
    return network


def vgg_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """Make the recipe for sharing a VGG.

    Args:
        name: ``"vgg11"`` to ``"vgg19"``, with or without ``_bn``.
        weights: ``"default"`` (torchvision's, for ImageNet), another name that torchvision has,
            ``"random"``, ``"random:SEED"``, or a path to a state dict of the whole network or of its
            ``features``.

    Raises:
        ValueError: the network or the weights' name is unknown.
    """
    layer_names(name)
    check_weights(name, weights)
    if isinstance(weights, str) and weights.startswith("torchvision://"):
        weights = "default"  # so that all spellings of it share
    return BackboneRecipe(build_vgg, (name, weights), norm_of(name, weights))
