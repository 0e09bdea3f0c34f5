"""Networks that are one chain of layers: AlexNet's, SqueezeNet's and VGG's convolutional part."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from losskit.backbones import BackboneRecipe, FeatureNetwork
from losskit_perceptual.networks.frozen_chain import FrozenChain
from losskit_perceptual.networks.pretrained import check_weights, load_into, norm_of, seed_for

NAMES = ("alexnet", "squeezenet1_0", "squeezenet1_1")


class SequentialNetwork(FeatureNetwork):
    """A chain of layers, which go by index.

    Args:
        features: the chain, as torchvision's ``features``. A ReLU in it follows a layer whose output
            is its own (a convolution or normalisation).
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.layer_names = tuple(str(index) for index in range(len(features)))
        self._chain = FrozenChain(features) if FrozenChain.fits(features) else None

    def resolve(self, layer: str) -> str:
        """An index; ``"features.4"`` is ``"4"``."""
        return super().resolve(layer.removeprefix("features."))

    def gains_from_compile(self, device: str) -> bool:
        """Not on the CPU, where the chain run by hand is faster than what the compiler makes."""
        return device != "cpu" or self._chain is None

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run to the deepest of ``layers``."""
        wanted = {int(layer) for layer in layers}
        if self._chain is not None and self._chain.takes(image):
            indices = tuple(sorted(wanted))
            made = dict(zip(indices, self._chain(image, indices), strict=True))
            return tuple(made[int(layer)] for layer in layers)
        found: dict[int, Tensor] = {}
        x = image
        for index, layer in enumerate(self.features):
            if not isinstance(layer, nn.ReLU):
                x = layer(x)
            elif index == 0 or index - 1 in wanted:
                x = torch.relu(x)
            else:  # nobody has seen the convolution's output: its memory can be used again
                x = torch.relu_(x)
            if index in wanted:
                found[index] = x
            if len(found) == len(wanted):
                break
        return tuple(found[int(layer)] for layer in layers)


def build_sequential(name: str, weights: str | Path) -> SequentialNetwork:
    """Make the convolutional part of such a network; for ``shared_backbone``."""
    seed_for(weights)
    # AlexNet's classifier is 58 of its 61 million parameters, so it is not made at all.
    features = _alexnet() if name == "alexnet" else models.get_model(name, weights=None).features
    load_into(features, name, weights, prefix="features.")
    return SequentialNetwork(features)


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )


def sequential_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """Make the recipe for sharing AlexNet or a SqueezeNet; ``weights`` as for a VGG.

    Raises:
        ValueError: the weights' name is unknown.
    """
    check_weights(name, weights)
    return BackboneRecipe(build_sequential, (name, weights), norm_of(name, weights))
