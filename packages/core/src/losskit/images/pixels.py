"""Images as tensors: read, write, and cut to what a benchmark compares."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from losskit.discovery.extras import require
from losskit.errors import LosskitError
from losskit.images.bit_depth import deep_colours, unclipped, white_of
from losskit.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")


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
    """An image as RGB in [0, 1], ``(1, 3, h, w)`` float32, as it is meant to be seen.

    Args:
        path: of any format Pillow reads; 16 bits a channel are kept, in grey and in RGB; floats are
            in [0, 1].
        size: ``None``: as it is; a number: scaled so that the shorter side has so many pixels;
            ``(height, width)``: scaled to fill that and cropped about the centre.

    Raises:
        LosskitError: there is no such file, or it is no readable image.
    """
    pixels = shown_pixels(path)
    import numpy as np
    import torch

    if size is not None:
        # Pillow scales colours of 8 bits, and one channel of floats.
        parts = [pixels] if pixels.dtype == np.uint8 else np.moveaxis(pixels, -1, 0)
        fitted = [np.array(_fit(_pillow().fromarray(part), size)) for part in parts]
        pixels = fitted[0] if len(fitted) == 1 else np.stack(fitted, -1)
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).contiguous()


def shown_pixels(
    path: Path, *, channels: Literal[1, 3] = 3, eight_bits: bool = False
) -> NDArray[Any]:
    """An image file as it is meant to be seen: turned as its EXIF data say, on white where transparent.

    Args:
        path: of any format Pillow reads; floats are in [0, 1].
        channels: 3 (RGB), or, with ``eight_bits``, 1 (grey).
        eight_bits: round to them; colours of more bits that Pillow cannot be made to give are cut.

    Returns:
        ``(h, w, channels)``: uint8, or float32 in [0, 1] where the file has more than 8 bits.

    Raises:
        LosskitError: there is no such file, it is no readable image, or what its white is cannot
            be known.
    """
    image_module = _pillow()
    import numpy as np
    from PIL import ImageOps

    try:
        with image_module.open(path) as opened:
            white = white_of(opened)
            clear = opened.mode in _TRANSPARENT or "transparency" in opened.info
            mode = "RGBA" if clear else "RGB" if channels == 3 else "L"
            pixels: NDArray[Any] | None = None
            with suppress(ValueError) if eight_bits else nullcontext():
                pixels = deep_colours(opened, path, mode) if mode != "L" else None
            upright = ImageOps.exif_transpose(opened)
            if white is not None:
                pixels = unclipped(upright, white)[..., None]
                if clear:  # one value that is not seen
                    pixels[np.array(upright) == upright.info["transparency"]] = 1.0
            elif pixels is None:
                pixels = np.array(upright.convert(mode))
    except FileNotFoundError as error:
        raise LosskitError(f"there is no file {path}") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise LosskitError(f"cannot read {path} as an image: {one_line(error)}") from error
    if eight_bits and pixels.dtype != np.uint8:
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return in_channels(pixels, channels)


def in_channels(pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """Pixels laid on white where they are transparent, as grey or RGB.

    Args:
        pixels: ``(h, w, c)``, uint8, or float32 in [0, 1]; of four channels the last is opacity.
        channels: 3, or, of uint8, 1; other numbers of channels are left as they are.
    """
    import numpy as np

    if pixels.shape[2] == 4:
        pixels = on_white(pixels)
        if channels == 1:  # as Pillow makes grey of colours
            return np.array(_pillow().fromarray(pixels).convert("L"))[..., None]
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 and channels == 3 else pixels


def on_white(pixels: NDArray[Any]) -> NDArray[Any]:
    """RGB of RGBA: what lies under transparent pixels is often rubbish, and not to be compared or learnt.

    Args:
        pixels: ``(h, w, 4)``, uint8, or float32 in [0, 1].
    """
    import numpy as np

    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if pixels.dtype != np.uint8:
        laid: NDArray[Any] = colours * alpha + (1 - alpha)
        return laid
    alpha = alpha.astype(np.uint16)
    laid = (colours * alpha + 255 * (255 - alpha) + 127) // 255
    return laid.astype(np.uint8)


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
    """Extract what super-resolution benchmarks compare: the middle of an image, and its luma alone.

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
