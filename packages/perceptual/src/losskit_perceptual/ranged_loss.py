"""Base of the losses of images in a range: the warning of images outside it, and the reduction."""

from __future__ import annotations

from losskit.losses.base import Loss
from losskit.losses.data_range import DataRange, RangeCheck, parse_data_range
from losskit.losses.reduction import Reduction, check_reduction


class RangedLoss(Loss):
    """A loss of images that are in a range.

    Args:
        data_range: the images' range: 1, 255 or a pair.
        reduction: over samples: ``"mean"``, ``"sum"``, or ``"none"``.
        range_argument: the loss's argument that sets the range, for the warning.

    Raises:
        ValueError: ``reduction`` is unknown, or it is no range.
    """

    def __init__(
        self, data_range: DataRange, reduction: Reduction, range_argument: str = "data_range"
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.data_range = parse_data_range(data_range)
        self._check_range = RangeCheck(self.data_range, type(self).__name__, range_argument)
