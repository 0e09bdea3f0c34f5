"""Images of more than eight bits a channel: what white is, and the bits that Pillow leaves out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


#: Whose integers Pillow's mode "I" holds unscaled, and of 16 bits: PNG before Pillow 11, PGM still.
_SIXTEEN_BITS = ("PNG", "PPM")
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF


def deep_colours(image: Any, path: Path, mode: str = "RGB") -> NDArray[np.float32] | None:
    """The upright ``(h, w, c)`` in [0, 1] of a file of colours of 16 bits just opened.

    ``None`` where its colours have 8 bits, or it is grey.

    Args:
        image: the opened file.
        path: its path.
        mode: ``RGB``, or ``RGBA`` to have its transparency.

    Raises:
        ValueError: colours have more than 8 bits that Pillow cannot be made to give.
    """
    import numpy as np
    from PIL import ImageOps

    low = _low_bytes(image, path)
    if low is None:
        return None
    high = np.array(ImageOps.exif_transpose(image).convert(mode)).astype(np.float32)
    return (high * 256 + np.array(low.convert(mode), dtype=np.float32)) / np.float32(65535)


def _low_bytes(image: Any, path: Path) -> Any:
    """The low bytes of colours of 16 bits, as an upright image; ``None`` where there are none.

    Pillow's colours have 8 bits: of 16 it keeps the high byte. Told the other byte order, it keeps
    the low one.

    Raises:
        ValueError: colours have more than 8 bits that Pillow cannot be made to give.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return None  # grey, which has room
    orders = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    swapped: list[Any] = []
    for codec, extents, offset, options in image.tile:
        raw = options if isinstance(options, str) else next(iter(options or ()), "")
        if codec.startswith("ppm") and image.mode == "RGB" and tuple(options or ())[-1:] != (255,):
            raw = "RGB;16 of PPM"
        mode, _, depth = str(raw).partition(";16")
        if not depth:
            continue
        if depth not in orders or mode not in (*"RGBA", "RGB", "RGBA"):
            raise ValueError(
                "its colours have 16 bits in a way that cannot be read: save it as a PNG of RGB"
            )
        other = f"{mode};16{orders[depth]}"
        changed = other if isinstance(options, str) else (other, *options[1:])
        swapped.append((codec, extents, offset, changed))
    if not swapped:
        return None
    from PIL import Image, ImageOps

    with Image.open(path) as low:
        tile = type(low.tile[0])
        low.tile = swapped if tile is tuple else [tile(*part) for part in swapped]
        return ImageOps.exif_transpose(low)


def white_of(image: Any) -> float | None:
    """The value of white in a grey file just opened, if Pillow's own conversion would clip it.

    ``None`` if it would not: only integers of 16 bits and floats are more than it has room for.

    Raises:
        ValueError: it cannot be known, as of 32 bits, or black is not 0.
    """
    if image.mode == "F":
        return 1.0
    if image.mode == "I" and image.format not in _SIXTEEN_BITS:
        raise ValueError(
            "it holds 32-bit or signed integers, whose white is not known: save it with 8 or 16 "
            "bits, or as floats in [0, 1]"
        )
    if not image.mode.startswith("I"):
        return None
    tags = getattr(image, "tag_v2", {})  # TIFF's
    if tags.get(_PHOTOMETRIC, 1) == 0:
        raise ValueError("its zero is white, with more than 8 bits: save it with 0 as black")
    (bits,) = tags.get(_BITS_PER_SAMPLE, (16,))
    return float(2**bits - 1)


def unclipped(image: Any, white: float) -> NDArray[np.float32]:
    """The values of a Pillow image, in [0, 1], as float32.

    Args:
        image: one that has a `white_of`.
        white: that.

    Raises:
        ValueError: values are outside black and white.
    """
    import numpy as np

    grey: NDArray[np.float32] = np.array(image).astype(np.float32)
    if not (grey.min() >= 0 and grey.max() <= white):  # nor NaN
        raise ValueError(
            f"its values run from {grey.min():.6g} to {grey.max():.6g}, not 0 to {white:g}"
        )
    return grey / np.float32(white)
