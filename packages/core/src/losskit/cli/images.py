"""Read, write and pair images, for the commands that take them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import LosskitError
from losskit.spec import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
#: Whose integers Pillow's mode "I" holds unscaled, and of 16 bits: PNG before Pillow 11, PGM still.
_SIXTEEN_BITS = ("PNG", "PPM")
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise LosskitError("reading images needs Pillow: pip install 'losskit[images]'") from error
    return PIL.Image


def read_image(path: Path, *, size: tuple[int, int] | int | None = None) -> Tensor:
    """An image as RGB in [0, 1], ``(1, 3, h, w)`` float32, turned as its EXIF data say.

    Args:
        path: of any format Pillow reads; grey of 16 bits keeps them, floats are in [0, 1],
            transparency is dropped.
        size: ``None``: as it is; a number: scaled so that the shorter side has so many pixels;
            ``(height, width)``: scaled to fill that and cropped about the centre.

    Raises:
        LosskitError: there is no such file, or it is no readable image.
    """
    import numpy as np
    import torch

    image_module = _pillow()
    from PIL import ImageOps

    try:
        with image_module.open(path) as opened:
            white = white_of(opened)
            image = ImageOps.exif_transpose(opened)
            if white is None:
                pixels = np.array(_fit(image.convert("RGB"), size)).astype(np.float32) / 255
            else:
                grey = image_module.fromarray(unclipped(image, white))
                pixels = np.stack([np.array(_fit(grey, size))] * 3, -1)
    except FileNotFoundError as error:
        raise LosskitError(f"there is no file {path}") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise LosskitError(f"cannot read {path} as an image: {one_line(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).contiguous()


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
        image: one that has a [`white_of`][losskit.cli.images.white_of].
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


def _fit(image: Any, size: tuple[int, int] | int | None) -> Any:
    from PIL import Image, ImageOps

    if size is None:
        return image
    if isinstance(size, int):
        scale = size / min(image.size)
        size = (round(image.size[1] * scale), round(image.size[0] * scale))
    return ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)


def write_image(image: Tensor, path: Path) -> None:
    """Write ``(1, 3, h, w)`` or ``(3, h, w)`` in [0, 1] as the format of the suffix.

    Raises:
        LosskitError: the suffix is no image format, or the file cannot be written.
    """
    picture = as_picture(image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except (OSError, ValueError) as error:
        raise LosskitError(f"cannot write {path}: {one_line(error)}") from error


def as_picture(image: Tensor) -> Any:
    """``(1, 3, h, w)`` or ``(3, h, w)`` in [0, 1] as a Pillow image of eight bits."""
    array = image.detach().squeeze(0).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return _pillow().fromarray(array.cpu().numpy())


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
    left, right = _images(pred), _images(target)
    for folder, files in ((pred, left), (target, right)):
        if not files:
            raise LosskitError(f"there is no image in {folder} ({', '.join(SUFFIXES)})")
    missing = sorted(set(left) ^ set(right))
    if missing:
        lacking = target if missing[0] in left else pred
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise LosskitError(f"{missing[0]!r} has no partner in {lacking}{more}")
    return [(name, left[name], right[name]) for name in sorted(left)]


def _images(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        name = str(path.relative_to(folder).with_suffix(""))
        if name in found:
            raise LosskitError(
                f"{found[name]} and {path.name} differ only in their suffix: keep one of them"
            )
        found[name] = path
    return found
