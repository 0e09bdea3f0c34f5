"""IR-SE50, the face network of ArcFace (Deng et al., CVPR 2019, arXiv:1801.07698)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones import FeatureNetwork

#: (channels, units) of the four stages; the first unit of each halves the resolution.
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
_REDUCTION = 16


class _SqueezeExcite(nn.Module):
    """Weigh channels by what the whole map holds (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // _REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * gate


class _Unit(nn.Module):
    """A residual unit; the attribute names are those of the published state dict."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if inputs == channels:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, channels, 3, 1, 1, bias=False),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            _SqueezeExcite(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class ArcFaceIRSE50(FeatureNetwork):
    """IR-SE50 for faces of 112x112 in [-1, 1]; embeddings of 512 numbers and length 1.

    Its state dict is that of the published checkpoint (``input_layer.*``, ``body.0`` to ``body.23``,
    ``output_layer.*``). Layers: ``"stage1"`` to ``"stage4"`` (after units 3, 7, 21 and 24) and
    ``"embedding"``.
    """

    layer_names = ("stage1", "stage2", "stage3", "stage4", "embedding")
    input_size = 112

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
        )
        units: list[nn.Module] = []
        inputs = 64
        for channels, count in STAGES:
            units += [_Unit(inputs, channels, 2)]
            units += [_Unit(channels, channels, 1) for _ in range(count - 1)]
            inputs = channels
        self.body = nn.Sequential(*units)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.6),  # never active: the network stays in evaluation mode
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512),
        )

    def forward(
        self, image: Float[Tensor, "b 3 112 112"], layers: tuple[str, ...] = ("embedding",)
    ) -> tuple[Tensor, ...]:
        """The activations of ``layers``; nothing beyond the deepest of them is computed."""
        found: dict[str, Tensor] = {}
        x = self.input_layer(image)
        first = 0
        for name, (_, count) in zip(self.layer_names, STAGES, strict=False):
            for unit in self.body[first : first + count]:
                x = unit(x)
            first += count
            found[name] = x
            if found.keys() >= set(layers):
                return tuple(found[name] for name in layers)
        found["embedding"] = F.normalize(self.output_layer(x))
        return tuple(found[name] for name in layers)


def load_arcface(state: Mapping[str, Tensor]) -> ArcFaceIRSE50:
    """The network with a published checkpoint's weights; every key must fit.

    Raises:
        RuntimeError: keys or shapes differ.
    """
    network = ArcFaceIRSE50()
    network.load_state_dict(dict(state))
    return network
