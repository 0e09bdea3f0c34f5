"""A run's snapshots as one moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from losskit.errors import LosskitError
from losskit.text import one_line


def write_animation(
    frames: Sequence[Path], path: Path, *, milliseconds: int = 80, hold: int = 1500
) -> list[Path]:
    """Write pictures of one size as an animation that repeats.

    A frame that cannot be read (a snapshot that was cut short), or is not of the last one's size, is
    left out.

    Args:
        frames: image files, in order.
        path: ends in ``.gif`` (256 colours a frame) or ``.webp`` (smaller, true colour).
        milliseconds: how long each frame stays.
        hold: how long the last one stays.

    Returns:
        The frames that were left out.

    Raises:
        LosskitError: there is no frame that can be read, or the file cannot be written.
    """
    from PIL import Image

    found = {frame: _read(frame) for frame in frames}
    sizes = [picture.size for picture in found.values() if picture is not None]
    if not sizes:
        raise LosskitError("an animation needs at least one frame that can be read")
    kept = {f: p for f, p in found.items() if p is not None and p.size == sizes[-1]}
    pictures = list(kept.values())
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
    return [frame for frame in frames if frame not in kept]


def _read(frame: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(frame) as opened:
            return opened.convert("RGB")
    except Exception:  # Pillow raises many kinds for a damaged file
        return None
