"""Read and pair images, for the commands that take them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import LosskitError
from losskit.spec import one_line

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise LosskitError("reading images needs Pillow: pip install 'losskit[images]'") from error
    return PIL.Image


def read_image(path: Path) -> Tensor:
    """An image as RGB in [0, 1], ``(1, 3, h, w)`` float32.

    Raises:
        LosskitError: there is no such file, or it is no readable image.
    """
    import numpy as np
    import torch

    image_module = _pillow()
    try:
        with image_module.open(path) as image:
            pixels = np.array(image.convert("RGB"))
    except FileNotFoundError as error:
        raise LosskitError(f"there is no file {path}") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise LosskitError(f"cannot read {path} as an image: {one_line(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float().div(255)


def write_image(image: Tensor, path: Path) -> None:
    """Write ``(1, 3, h, w)`` or ``(3, h, w)`` in [0, 1] as the format of the suffix."""
    array = image.detach().squeeze(0).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    _pillow().fromarray(array.cpu().numpy()).save(path)


def paired_files(pred: Path, target: Path) -> list[tuple[str, Path, Path]]:
    """The pairs two files, or two folders, make: by the same relative path, whatever the suffix.

    Raises:
        LosskitError: one is missing, a file has no partner, or a folder holds no image.
    """
    for path in (pred, target):
        if not path.exists():
            raise LosskitError(f"there is no file or folder {path}")
    if pred.is_file() and target.is_file():
        return [(pred.name, pred, target)]
    if pred.is_file() or target.is_file():
        raise LosskitError(f"{pred} and {target} must be two files or two folders")
    left, right = dict(_images(pred)), dict(_images(target))
    for folder, files in ((pred, left), (target, right)):
        if not files:
            raise LosskitError(f"there is no image in {folder} ({', '.join(SUFFIXES)})")
    missing = sorted(set(left) ^ set(right))
    if missing:
        lacking = target if missing[0] in left else pred
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise LosskitError(f"{missing[0]!r} has no partner in {lacking}{more}")
    return [(name, left[name], right[name]) for name in sorted(left)]


def _images(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            yield str(path.relative_to(folder).with_suffix("")), path
