"""The real colour photographs inside scikit-image's wheel; nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from losskit.errors import ConfigError, LosskitError, nearest

#: What ``data.images: builtin:NAME`` may name.
__all__ = ["faces", "photos"]

#: Photographs of things that a camera saw in colour; the wheel's other pictures are drawings, scans,
#: grey, or were taken through a telescope.
PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)


def photo(name: str) -> NDArray[np.uint8]:
    """One photograph, ``(h, w, 3)``.

    Raises:
        LosskitError: scikit-image is not installed, or its wheel no longer has the file.
        ConfigError: the name is none of ``PHOTOS``.
    """
    from PIL import Image

    if name not in PHOTOS:
        raise ConfigError(f"there is no photo {name!r}{nearest(name, PHOTOS)}")
    path = _folder() / name
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise LosskitError(f"this version of scikit-image has no {name}: {error}") from error


def photos(held_out: str = "astronaut.png") -> list[NDArray[np.uint8]]:
    """All photographs but one, for ``data.images: builtin:photos``.

    Args:
        held_out: the one left out.
    """
    photo(held_out)  # a name that does not exist must not leave everything in
    return [photo(name) for name in PHOTOS if name != held_out]


def faces() -> NDArray[Any]:
    """A hundred grey faces of 25 by 25 pixels (a part of LFW), floats in [0, 1]."""
    path = _folder() / "lfw_subset.npy"
    try:
        images: NDArray[Any] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise LosskitError(
            f"this version of scikit-image has no lfw_subset.npy: {error}"
        ) from error
    return images[:100].astype(np.float32)  # the second hundred are not faces


def _folder() -> Path:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise LosskitError(
            "the demo's photographs come with scikit-image: pip install 'losskit-train[demo]'"
        )
    return Path(spec.origin).parent / "data"
