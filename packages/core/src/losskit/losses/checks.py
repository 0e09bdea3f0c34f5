"""Checks of arguments, with messages of one wording."""

from __future__ import annotations

from numbers import Integral


def check_positive(**values: int) -> None:
    """Raise ValueError unless every value is a whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
