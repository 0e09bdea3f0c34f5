"""VGG-16 with smooth pooling, as DISTS sees images (Ding et al., arXiv:2004.07728)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from losskit.backbones import FeatureNetwork, InputNorm
from losskit_perceptual.networks.vgg import VggNetwork, build_vgg

CHANNELS = (3, 64, 128, 256, 512, 512)


class DistsNetwork(FeatureNetwork):
    """The image and the last ReLU of each VGG-16 block; takes images in [0, 1].

    Max pooling is replaced by L2 pooling with a Hann window, which does not alias.

    Args:
        vgg: a VGG-16.
    """

    layer_names = ("image", "relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

    def __init__(self, vgg: VggNetwork) -> None:
        super().__init__()
        self.features = vgg.features
        self.norm = InputNorm.imagenet()
        window = torch.hann_window(5, periodic=False)[1:-1]
        window = window[:, None] * window[None]
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run to the deepest of ``layers``."""
        found = {"image": image}
        x = self.norm(image)
        names = iter(self.layer_names[1:])
        for index, layer in enumerate(self.features):
            if all(name in found for name in layers):
                break
            if isinstance(layer, torch.nn.ReLU):
                x = torch.relu_(x)  # no convolution's output is asked for
            elif not isinstance(layer, torch.nn.MaxPool2d):
                x = layer(x)
            else:
                x = self._pool(x)
            if index in _LAST:
                found[next(names)] = x
        return tuple(found[name] for name in layers)

    def _pool(self, x: Tensor) -> Tensor:
        # In fp16 the square of 256 is infinite, 1e-12 is 0, and the root of 0 has no slope.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        kernel = self.get_buffer("window").to(wide.dtype).expand(x.shape[1], 1, 3, 3)
        with torch.autocast(x.device.type, enabled=False):
            squares = F.conv2d(wide.square(), kernel, stride=2, padding=1, groups=x.shape[1])
            return (squares + 1e-12).sqrt().to(x.dtype)


_LAST = (3, 8, 15, 22, 29)


def build_dists(weights: str | Path) -> DistsNetwork:
    """Make the network; for ``shared_backbone``."""
    return DistsNetwork(build_vgg("vgg16", weights))
