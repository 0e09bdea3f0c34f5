"""A run's snapshots as one moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from losskit.errors import LosskitError
from losskit.spec import one_line


def write_animation(
    frames: Sequence[Path], path: Path, *, milliseconds: int = 80, hold: int = 1500
) -> None:
    """Write pictures of one size as an animation that repeats.

    Args:
        frames: image files, in order.
        path: ends in ``.gif`` (256 colours a frame) or ``.webp`` (smaller, true colour).
        milliseconds: how long each frame stays.
        hold: how long the last one stays.

    Raises:
        LosskitError: there is no frame, or the file cannot be written.
    """
    from PIL import Image

    if not frames:
        raise LosskitError("an animation needs at least one frame")
    pictures = []
    for frame in frames:
        with Image.open(frame) as opened:
            pictures.append(opened.convert("RGB"))
    options: dict[str, Any] = {}
    if path.suffix == ".gif":
        palette = Image.Quantize.MEDIANCUT
        pictures = [picture.quantize(256, palette) for picture in pictures]
    else:
        options = {"quality": 85, "method": 4}
    try:
        pictures[0].save(
            path,
            save_all=True,
            append_images=pictures[1:],
            duration=[milliseconds] * (len(pictures) - 1) + [hold],
            loop=0,
            **options,
        )
    except (OSError, ValueError) as error:
        raise LosskitError(f"cannot write {path}: {one_line(error)}") from error
