"""The range of values an image loss expects, and a warning, once, when a tensor is far outside."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from losskit.errors import RangeWarning

DataRange: TypeAlias = float | Sequence[float]


def parse_data_range(data_range: DataRange) -> tuple[float, float]:
    """``1.0`` → ``(0, 1)``, ``255`` → ``(0, 255)``, ``(-1, 1)`` as it is.

    Raises:
        ValueError: the width is not positive and finite.
        TypeError: it is neither a number nor a pair of numbers.
    """
    pair = (0.0, data_range) if isinstance(data_range, (int, float)) else data_range
    try:
        low, high = (float(value) for value in pair)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data_range must be a number or a pair (low, high), not {data_range!r}"
        ) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"data_range must have low < high, not {data_range!r}")
    return low, high


#: Calls in a row with images outside after which what is being trained is no mere beginner.
_PATIENCE = 100


class RangeCheck:
    """Looks at the images that a loss is given and warns, once, when the range cannot be right.

    Images that get a gradient are what is being trained, and an untrained network may overshoot: of
    those it tells when they were outside at a hundred calls in a row.

    On the CPU it looks until it has warned; on an accelerator, where looking waits for the device,
    only once for each argument: at its first image, or its hundredth. Under ``torch.compile`` it
    does not look.

    Args:
        data_range: what the loss was told.
        owner: the loss's name.
        argument: the loss's argument that sets the range, for the message.

    Attributes:
        term: the name of the term that the loss is part of, if any; for the message too.

    Example:
        >>> import torch, warnings
        >>> check = RangeCheck((0.0, 1.0), "LPIPS")
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     check(pred=torch.full((1, 3, 8, 8), 200.0))
        >>> print(caught[0].message)
        LPIPS: pred holds values from 200 to 200, but data_range says 0 to 1; scale the images or set data_range
    """

    def __init__(
        self, data_range: tuple[float, float], owner: str, argument: str = "data_range"
    ) -> None:
        self.low, self.high = data_range
        self.owner = owner
        self.argument = argument
        self.term = ""
        self._done: set[str] = set()
        self._in_a_row: dict[str, int] = {}

    def __call__(self, **images: Tensor) -> None:
        """Check images by the names of the loss's arguments."""
        if torch.compiler.is_compiling():
            return
        for name, image in images.items():
            if name not in self._done and image.numel() and not image.is_meta:
                self._look(name, image.detach(), trained=image.requires_grad)

    def _look(self, name: str, image: Tensor, *, trained: bool) -> None:
        if trained:
            self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
        patient = trained and self._in_a_row[name] < _PATIENCE
        if image.device.type != "cpu":
            if patient:
                return
            self._done.add(name)
        try:
            least, most = (value.item() for value in torch.aminmax(image))
        except (RuntimeError, NotImplementedError):  # inside vmap there are no values to look at
            return
        width = self.high - self.low
        outside = least < self.low - width / 2 or most > self.high + width / 2
        # [0, 1] images where [-1, 1] is meant: the classic mistake, and never out of range.
        one_sided = self.low < 0 <= least and self.high <= 1 and most > least
        if not (outside or one_sided):
            self._in_a_row.pop(name, None)
            return
        if patient:
            return
        self._done.add(name)
        owner = f"{self.owner} ({self.term})" if self.term else self.owner
        warnings.warn(
            f"{owner}: {name} holds values from {least:.4g} to {most:.4g}, but "
            f"{self.argument} says {self.low:g} to {self.high:g}; scale the images or set "
            f"{self.argument}",
            RangeWarning,
            stacklevel=_level_of_the_caller(),
        )

    def __deepcopy__(self, memo: dict[int, object]) -> RangeCheck:
        """A copy warns no second time: a model that is tried as a copy first is one model."""
        twin = copy.copy(self)
        memo[id(self)] = twin
        return twin


def _level_of_the_caller() -> int:
    """The ``stacklevel``, seen from ``_look``, of the first frame that is not torch's or ours."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(module: str) -> bool:
    package = module.partition(".")[0]  # contextlib: our own `with` blocks
    return package in ("torch", "losskit", "contextlib") or package.startswith("losskit_")
