"""Checks of image sizes, shared by the networks."""

from __future__ import annotations


def doublings(image_size: int, base: int) -> int:
    """Count how often ``base`` must be doubled to reach ``image_size``.

    Raises:
        ValueError: it is not ``base`` times a power of two.
    """
    count = (image_size // base).bit_length() - 1
    if image_size < base or base << count != image_size:
        sizes = ", ".join(str(base << i) for i in range(5))
        raise ValueError(f"image_size must be one of {sizes}, ..., not {image_size!r}")
    return count
