"""Read, write and pair images, for the commands that take them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import LosskitError
from losskit.extras import require
from losskit.spec import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
#: Whose integers Pillow's mode "I" holds unscaled, and of 16 bits: PNG before Pillow 11, PGM still.
_SIXTEEN_BITS = ("PNG", "PPM")
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF


def require_images() -> None:
    """Check that what images are read and written with is installed.

    Raises:
        LosskitError: it is not; the message has the install.
    """
    require("reading and writing images", "numpy", "PIL")


def _pillow() -> Any:
    require_images()
    import PIL.Image

    return PIL.Image


def read_image(path: Path, *, size: tuple[int, int] | int | None = None) -> Tensor:
    """An image as RGB in [0, 1], ``(1, 3, h, w)`` float32, turned as its EXIF data say.

    Args:
        path: of any format Pillow reads; 16 bits a channel are kept, in grey and in RGB; floats are
            in [0, 1]; transparency is dropped.
        size: ``None``: as it is; a number: scaled so that the shorter side has so many pixels;
            ``(height, width)``: scaled to fill that and cropped about the centre.

    Raises:
        LosskitError: there is no such file, or it is no readable image.
    """
    image_module = _pillow()
    import numpy as np
    import torch
    from PIL import ImageOps

    try:
        with image_module.open(path) as opened:
            white = white_of(opened)
            deep = deep_colours(opened, path)
            image = ImageOps.exif_transpose(opened)
            if deep is not None:
                channels = [image_module.fromarray(deep[..., index]) for index in range(3)]
                pixels = np.stack([np.array(_fit(channel, size)) for channel in channels], -1)
            elif white is None:
                pixels = np.array(_fit(image.convert("RGB"), size)).astype(np.float32) / 255
            else:
                grey = image_module.fromarray(unclipped(image, white))
                pixels = np.stack([np.array(_fit(grey, size))] * 3, -1)
    except FileNotFoundError as error:
        raise LosskitError(f"there is no file {path}") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise LosskitError(f"cannot read {path} as an image: {one_line(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).contiguous()


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
    swapped = []
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
    from PIL import ImageOps

    with _pillow().open(path) as low:
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


def measured_part(image: Tensor, *, border: int = 0, luma: bool = False) -> Tensor:
    """What benchmarks of super-resolution compare: the middle of an image, and its luma alone.

    Args:
        image: ``(1, 3, h, w)`` in [0, 1].
        border: pixels to cut off each side.
        luma: give Y of BT.601 with its head room (16 to 235 of 255), as MATLAB's ``rgb2ycbcr``
            does, in all three channels.

    Raises:
        ValueError: nothing is left inside the border.
    """
    height, width = image.shape[2:]
    if 2 * border >= min(height, width):
        raise ValueError(f"a border of {border} leaves nothing of {width}×{height} pixels")
    image = image[..., border : height - border, border : width - border]
    if luma:
        weights = image.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
        image = (((image * weights).sum(1, keepdim=True) + 16) / 255).expand(-1, 3, -1, -1)
    return image.contiguous()


def pixels_in(path: Path) -> int:
    """The area of an image, from its header; 0 if it cannot be read."""
    try:
        with _pillow().open(path) as opened:
            return int(opened.width * opened.height)
    except Exception:  # whoever reads the image says what is wrong with it
        return 0


def paired_files(
    pred: Path, target: Path, *, pred_suffix: str = ""
) -> list[tuple[str, Path, Path]]:
    """The pairs two files, or two folders, make: by the same relative path, whatever the suffix.

    Hidden files, and files in hidden folders, are left out: they hold copies (``.ipynb_checkpoints``)
    and metadata (``._0001.png``).

    Args:
        pred: a file, or a folder that is searched with all folders in it.
        target: another.
        pred_suffix: what names in ``pred`` have more than those in ``target``: ``"x4"`` pairs
            ``0001x4.png`` with ``0001.png``.

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
    left, right = _images(pred, pred_suffix), _images(target)
    for folder, files in ((pred, left), (target, right)):
        if not files:
            raise LosskitError(f"there is no image in {folder} ({', '.join(SUFFIXES)})")
    missing = sorted(set(left) ^ set(right))
    if missing:
        lacking = target if missing[0] in left else pred
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise LosskitError(f"{missing[0]!r} has no partner in {lacking}{more}")
    return [(name, left[name], right[name]) for name in sorted(left)]


def visible_files(folder: Path) -> list[Path]:
    """All files of a folder and of those in it, sorted, but hidden ones, which are no data.

    Macs (``._0001.png``) and notebooks (``.ipynb_checkpoints``) leave these behind.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _images(folder: Path, suffix: str = "") -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in visible_files(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        name = str(path.relative_to(folder).with_suffix(""))
        if not name.endswith(suffix):
            raise LosskitError(f"the name of {path} does not end in {suffix!r}")
        name = name.removesuffix(suffix)
        if name in found:
            raise LosskitError(
                f"{found[name]} and {path.name} differ only in their suffix: keep one of them"
            )
        found[name] = path
    return found
