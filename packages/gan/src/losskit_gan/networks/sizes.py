"""Checks of image sizes, shared by the networks."""

from __future__ import annotations

from numbers import Integral


def doublings(image_size: int, base: int) -> int:
    """How often ``base`` must be doubled to reach ``image_size``.

    Raises:
        ValueError: it is not ``base`` times a power of two.
    """
    count = (image_size // base).bit_length() - 1
    if image_size < base or base << count != image_size:
        sizes = ", ".join(str(base << i) for i in range(5))
        raise ValueError(f"image_size must be one of {sizes}, ..., not {image_size!r}")
    return count


def check_positive(**values: int) -> None:
    """Raise ValueError unless every value is a whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
