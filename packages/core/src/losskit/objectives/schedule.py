"""Schedule of a term, when it counts and how much: ``interval``, ``start``, ``stop``, ``ramp``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from losskit.errors import ConfigError, nearest

_SHAPES = ("linear", "cosine")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The iterations at which a term is computed, and its weight's way up.

    Args:
        interval: compute the term at every ``interval``-th iteration only (lazy regularisation).
        scale_by_interval: multiply the weight by ``interval``, so that the mean over iterations is
            that of a term computed every time.
        start: first iteration at which the term counts.
        stop: iteration from which it no longer counts; ``None``: never.
        ramp: iterations over which the weight rises to its full value, counted from ``start``.
        shape: ``"linear"`` or ``"cosine"``.
    """

    interval: int = 1
    scale_by_interval: bool = False
    start: int = 0
    stop: int | None = None
    ramp: int = 0
    shape: str = "linear"

    @classmethod
    def from_config(
        cls,
        interval: Any = 1,
        start: Any = 0,
        stop: Any = None,
        ramp: Any = 0,
        scale_by_interval: Any = False,
    ) -> Schedule:
        """Check config values; ``ramp`` is a number or ``{"steps": 1000, "shape": "cosine"}``.

        Raises:
            ConfigError: a value is out of range or of a wrong type.
        """
        shape = "linear"
        if isinstance(ramp, Mapping):
            unknown = [key for key in ramp if key not in ("steps", "shape")]
            if unknown:
                raise ConfigError(f"ramp takes 'steps' and 'shape', not {unknown[0]!r}")
            shape, ramp = ramp.get("shape", "linear"), ramp.get("steps", 0)
        if shape not in _SHAPES:
            raise ConfigError(
                f"ramp shape must be one of {', '.join(_SHAPES)}, not {shape!r}{nearest(str(shape), _SHAPES)}"
            )
        for name, value, least in (
            ("interval", interval, 1),
            ("start", start, 0),
            ("ramp", ramp, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"{name} must be a whole number of at least {least}, not {value!r}"
                )
        if stop is not None and (
            not isinstance(stop, int) or isinstance(stop, bool) or stop <= start
        ):
            raise ConfigError(f"stop must be a whole number above start ({start}), not {stop!r}")
        if not isinstance(scale_by_interval, bool):
            raise ConfigError(f"scale_by_interval must be true or false, not {scale_by_interval!r}")
        return cls(interval, scale_by_interval, start, stop, ramp, shape)

    @property
    def is_constant(self) -> bool:
        """Return whether the term counts the same at every iteration."""
        return self.interval == 1 and self.start == 0 and self.stop is None and self.ramp == 0

    @property
    def first(self) -> int | None:
        """The first iteration at which the term counts; ``None``: there is none."""
        first = -(-self.start // self.interval) * self.interval
        return first if self.stop is None or first < self.stop else None

    def factor(self, iteration: int) -> float:
        """Compute the factor on the weight; 0.0 where the term is not computed at all."""
        if iteration < self.start or (self.stop is not None and iteration >= self.stop):
            return 0.0
        if iteration % self.interval:
            return 0.0
        # The first iteration already counts, and the full weight is reached after `ramp` of them.
        progress = min(1.0, (iteration - self.start + 1) / self.ramp) if self.ramp else 1.0
        if self.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return progress * (self.interval if self.scale_by_interval else 1)
