"""Images as tensors: read, write, and cut to what a benchmark compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.discovery.extras import require
from losskit.errors import LosskitError
from losskit.images.bit_depth import deep_colours, unclipped, white_of
from losskit.text import one_line

if TYPE_CHECKING:
    from torch import Tensor


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
