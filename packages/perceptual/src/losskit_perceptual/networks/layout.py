"""Axis of a layer's channels: last in transformers over grids, right behind the batch in all others."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import SwinTransformer


class Layout:
    """Brings the maps of one network to ``(b, c, h, w)``.

    No layer says which of its axes is which, so they are told by the image: rows and columns keep
    its shape. Where both readings fit, a network that is known to keep channels last has them last.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        grids = any(isinstance(module, nn.LayerNorm) for module in model.modules())
        declared = getattr(model, "output_fmt", None) == "NHWC"  # timm's word for it
        self.always_first = not grids
        self.mostly_last = declared or isinstance(model, SwinTransformer)

    def __call__(self, image: Tensor, features: Tensor) -> Tensor:
        """The features, as a view with channels first if they are maps."""
        if self.always_first or features.ndim != 4:
            return features
        first = _keeps_shape(image, features.shape[2], features.shape[3])
        last = _keeps_shape(image, features.shape[1], features.shape[2])
        if not last or (first and not self.mostly_last):
            return features
        return features.permute(0, 3, 1, 2)


def _keeps_shape(image: Tensor, rows: int, columns: int) -> bool:
    height, width = image.shape[2:]
    slack = max(height, width)  # a row or a column more or less: padding
    return abs(rows * width - columns * height) <= slack


def tokens_in_rows(network: nn.Module) -> bool:
    """Return whether a network's tokens are in the order of patches; Hiera's are in that of its pooling."""
    return not any(type(module).__name__ == "Unroll" for module in network.modules())
