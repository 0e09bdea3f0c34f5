"""Network inside a shared trunk: frozen, with outputs by layer name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.errors import nearest


class FeatureNetwork(nn.Module):
    """Base of networks that losses look through.

    A subclass names its layers, in the order they are computed, and writes
    ``forward(image, layers)``, which returns one tensor per name and computes nothing beyond the
    deepest of them. No in-place operation may touch a tensor that it returns.
    """

    layer_names: tuple[str, ...] = ()

    @property
    def given(self) -> nn.Module | None:
        """The frozen copy of the module that it was made of, if it was: what a pickled loss takes along."""
        return None

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The activations of ``layers``, in their order."""
        raise NotImplementedError(f"{type(self).__name__} needs forward(image, layers)")

    def resolve(self, layer: str) -> str:
        """The name in ``layer_names`` that ``layer`` stands for; a subclass may know aliases.

        Raises:
            ValueError: this network has no such layer.
        """
        if layer not in self.layer_names:
            raise ValueError(
                f"{type(self).__name__} has no layer {layer!r}"
                f"{nearest(layer, self.layer_names)}; it has {', '.join(self.layer_names)}"
            )
        return layer

    def gains_from_compile(self, device: str) -> bool:
        """Return whether to heed ``compile=True``; a subclass may know that it is faster without.

        Args:
            device: the kind it will run on: ``"cpu"``, ``"cuda"``, ...
        """
        del device
        return True

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stay in evaluation mode: a trunk is frozen for good."""
        return super().train(False)


class EmbeddingNetwork(FeatureNetwork):
    """A network seen through its output alone, as the single layer ``"embedding"``.

    Args:
        network: takes an image batch, returns one tensor.
    """

    layer_names = ("embedding",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The output, once per name asked for."""
        output: Tensor = self.network(image)
        return (output,) * len(layers)


@dataclass(frozen=True)
class InputNorm:
    r"""$((x - low)/(high - low) - mean)/std$, per channel: what an image network expects.

    Args:
        mean: per channel, for images in [0, 1]; empty: no normalisation.
        std: per channel.
        low: the image value that means black.
        high: the image value that means white.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0

    IMAGENET_MEAN: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    IMAGENET_STD: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)

    @classmethod
    def imagenet(cls, low: float = 0.0, high: float = 1.0) -> InputNorm:
        """ImageNet's statistics, for images that lie in ``low`` to ``high``."""
        return cls(cls.IMAGENET_MEAN, cls.IMAGENET_STD, low, high)

    def __call__(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise a batch."""
        if (self.low, self.high) != (0.0, 1.0):
            image = (image - self.low) / (self.high - self.low)
        if not self.mean:
            return image
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, dtype=image.dtype, device=image.device).view(shape)
        std = torch.tensor(self.std, dtype=image.dtype, device=image.device).view(shape)
        return (image - mean) / std
