"""Sources of images: a folder, paired folders, an array file, a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from losskit.errors import ConfigError, LosskitError
from losskit.images.bit_depth import white_of
from losskit.images.files import SUFFIXES, paired_files, visible_files
from losskit.images.pixels import in_channels, shown_pixels
from losskit.text import one_line
from losskit_train.config.imports import import_named
from losskit_train.config.sections import DataConfig

_BUILTIN = "builtin:"


class DataError(LosskitError, RuntimeError):
    """An image cannot be read, or is not as the config needs it; the message names it."""


class Source:
    """Images by index; each item is one image, or the pair (input, target).

    Args:
        names: what each item is called in messages.
        read: gives one item's images as ``(c, h, w)`` uint8.
        cache: keep what was read.
        skipped: names of items left out.
        others: how many files beside them are no images.

    Attributes:
        bad: indices of items that were found bad when they were read, so that nobody reads them
            again; each loading process has a memory of its own.
    """

    def __init__(
        self,
        names: list[str],
        read: Callable[[int], tuple[Tensor, ...]],
        *,
        cache: bool = False,
        skipped: tuple[str, ...] = (),
        others: int = 0,
    ) -> None:
        self.names = names
        self.others = others
        self.skipped = skipped
        self.bad: set[int] = set()
        self._read = read
        self._cache: dict[int, tuple[Tensor, ...]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], ...]:
        if self._cache is None:
            return self._read(index)
        if index not in self._cache:
            self._cache[index] = self._read(index)
        return self._cache[index]


def open_source(config: DataConfig, *, allow_import: bool = False) -> Source:
    """The images a config names, their headers looked at.

    Raises:
        ConfigError: there are no such images.
        DataError: one of them is unreadable or too small, and ``skip_bad`` is off; or all are.
    """
    if config.task == "paired":
        return _paired(config)
    if ":" in config.images and not Path(config.images).exists():
        return _provided(config, allow_import)
    if config.images.endswith(".npy"):
        return _array_file(config)
    return _folder(config)


def decode(path: Path, channels: Literal[1, 3]) -> UInt8[Tensor, "c h w"]:
    """One image file as it is meant to be seen: as its EXIF data turn it, on white where transparent.

    Grey and colours of 16 bits are scaled to 8, and so are floats, whose white is 1.

    Raises:
        DataError: it cannot be read as an image, or what its white is cannot be known.
    """
    try:
        pixels = shown_pixels(path, channels=channels, eight_bits=True)
    except LosskitError as error:
        raise DataError(error) from error
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _folder(config: DataConfig) -> Source:
    folder = Path(config.images)
    if not folder.is_dir():
        raise ConfigError(f"data.images: there is no folder {config.images!r}")
    seen = visible_files(folder)
    files = [path for path in seen if path.suffix.lower() in SUFFIXES]
    if not files:
        raise ConfigError(f"data.images: no image in {config.images!r} ({', '.join(SUFFIXES)})")
    good, skipped = _sift([(path,) for path in files], config)
    return Source(
        [str(paths[0]) for paths in good],
        lambda index: (decode(good[index][0], config.channels),),
        cache=config.cache,
        skipped=skipped,
        others=len(seen) - len(files),
    )


def _paired(config: DataConfig) -> Source:
    assert config.inputs is not None
    inputs, images = Path(config.inputs), Path(config.images)
    try:
        pairs: list[tuple[Path, ...]] = [pair[1:] for pair in paired_files(inputs, images)]
    except LosskitError as error:
        if "has no partner" not in str(error):
            raise ConfigError(f"data.inputs, data.images: {error}") from error
        if not config.skip_bad:
            raise ConfigError(
                f"data.inputs, data.images: {error} (data.skip_bad: true leaves such images out)"
            ) from error
        pairs = _pairs_with_holes(inputs, images)
    good, skipped = _sift(pairs, config)

    def read(index: int) -> tuple[Tensor, ...]:
        return tuple(decode(path, config.channels) for path in good[index])

    return Source([str(paths[-1]) for paths in good], read, cache=config.cache, skipped=skipped)


def _pairs_with_holes(inputs: Path, images: Path) -> list[tuple[Path, ...]]:
    """Pairs by name; one that lacks a partner is there alone, for the sifting to leave out."""
    sides = [
        {
            str(p.relative_to(folder).with_suffix("")): p
            for p in visible_files(folder)
            if p.suffix.lower() in SUFFIXES
        }
        for folder in (inputs, images)
    ]
    names = sorted({*sides[0], *sides[1]})
    return [tuple(side[name] for side in sides if name in side) for name in names]


def _sift(
    items: list[tuple[Path, ...]], config: DataConfig
) -> tuple[list[tuple[Path, ...]], tuple[str, ...]]:
    """Leave out what a look at the headers shows to be bad, or stop at it."""
    good, skipped = [], []
    for paths in items:
        try:
            if config.task == "paired" and len(paths) == 1:
                raise DataError(f"{paths[0]} has no partner")
            sizes = [_header(path) for path in paths]
            # Of a pair the target is last; how much smaller its input is, is the network's business.
            check_size(sizes[-1], config, str(paths[-1]))
        except DataError as error:
            if not config.skip_bad:
                raise DataError(f"{error} (data.skip_bad: true leaves such images out)") from error
            skipped.append(str(paths[-1]))
        else:
            good.append(paths)
    if not good:
        raise DataError(f"not one of the {len(items)} images of {config.images!r} can be used")
    return good, tuple(skipped)


def _header(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            white_of(image)
    except Exception as error:
        raise DataError(f"cannot read {path} as an image: {one_line(error)}") from error
    return height, width


def check_size(size: Sequence[int], config: DataConfig, name: str) -> None:
    """Raise DataError where an image is smaller than what is cut from it."""
    height, width = size
    if fit_of(config) == "crop" and min(height, width) < config.size:
        raise DataError(
            f"{name} is {width}x{height}, smaller than data.size {config.size}; "
            "take data.fit: resize, a smaller size, or other images"
        )


def fit_of(config: DataConfig) -> str:
    """Choose how an image becomes a square: ``"crop"`` or ``"resize"``."""
    return config.fit or ("resize" if config.task == "generation" else "crop")


def _array_file(config: DataConfig) -> Source:
    try:
        array = np.load(config.images, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"data.images: cannot read {config.images}: {one_line(error)}") from error
    return _array(array, config, config.images)


def _provided(config: DataConfig, allow_import: bool) -> Source:
    function = import_named(
        config.images.removeprefix(_BUILTIN),
        default_module="losskit_train.data.photos",
        allow_import=allow_import,
        where="data.images",
    )
    try:
        images = function(**config.options)
    except TypeError as error:
        raise ConfigError(f"data.options of {config.images}: {one_line(error)}") from error
    return _array(images, config, config.images)


def _array(images: Any, config: DataConfig, name: str) -> Source:
    if isinstance(images, np.ndarray) and images.ndim not in (3, 4):
        raise ConfigError(
            f"data.images: {name} has shape {images.shape}; images are (n, h, w) or (n, h, w, c)"
        )
    if not len(images):
        raise ConfigError(f"data.images: {name} is empty")
    for index, image in enumerate(images):
        check_size(np.shape(image)[:2], config, f"{name}[{index}]")
    names = [f"{name}[{index}]" for index in range(len(images))]

    def read(index: int) -> tuple[Tensor, ...]:
        return (_as_tensor(np.asarray(images[index]), config.channels, names[index]),)

    return Source(names, read, cache=config.cache)


def _as_tensor(pixels: NDArray[Any], channels: int, name: str) -> Tensor:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise DataError(f"{name} holds floats outside [0, 1]: scale them")
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"{name} holds {pixels.dtype}; images are uint8, or floats in [0, 1]")
    pixels = in_channels(pixels, channels)
    if pixels.shape[2] != channels:
        raise DataError(f"{name} has {pixels.shape[2]} channels; data.channels is {channels}")
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
