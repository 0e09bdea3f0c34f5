"""Base of the losses through CLIP's image tower: the tower, the checks of images, the reduction."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from losskit.backbones.trunk import Mode
from losskit.losses.base import Loss
from losskit.losses.checks import check_rgb
from losskit.losses.data_range import DataRange, RangeCheck, parse_data_range
from losskit.losses.reduction import Reduction, check_reduction, check_same_shape
from losskit_clip.preprocess import ClipPreprocess
from losskit_clip.towers import Preprocess, image_tower


class TowerLoss(Loss):
    """A loss that sees RGB images through CLIP's image tower.

    Args:
        model: an open_clip model by name, or as an object.
        weights: an open_clip tag, a path, or ``"random"``; by default ``"openai"``.
        preprocess: ``"clip"``, ``"styleclip"`` or a hashable callable.
        data_range: the values that mean black and white.
        mode: how the image tower is run.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over images.
        layers: of the image tower, those the loss looks at.

    Raises:
        ValueError: an option, a layer, the model or its weights are unknown.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        model: str | nn.Module,
        weights: str | None,
        preprocess: Preprocess,
        data_range: DataRange,
        mode: Mode,
        reduction: Reduction,
        layers: Iterable[str] = ("embedding",),
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        span = parse_data_range(data_range)
        self.backbone = image_tower(model, weights, preprocess, span, mode, layers)
        # Other preprocessing takes values as they are.
        checked = isinstance(self.backbone.mode.transform, ClipPreprocess)
        self._range = RangeCheck(span, type(self).__name__) if checked else None

    def check(self, **images: Tensor) -> None:
        """Look at the one image or the two of one shape, by argument.

        Raises:
            ValueError: the shapes differ, or are not ``(b, 3, h, w)``.
            TypeError: an image is no floating-point tensor.
        """
        for name, image in images.items():
            check_rgb(name, image)
        if len(images) == 2:
            one, other = images.values()
            check_same_shape(one, other, " and ".join(images))
        if self._range is not None:
            self._range(**images)
