"""Pairs of images as tensors: read ahead in threads, and put together in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from losskit.errors import LosskitError
from losskit.images.pixels import measured_part, pixels_in, read_image

if TYPE_CHECKING:
    from torch import Tensor

#: Pixels of a batch, and of the pairs that are read ahead, so that large images do not fill memory.
_AREA = 8 * 512 * 512


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one size: their names, and ``(b, 3, h, w)`` images in [0, 1]."""

    names: list[str]
    pred: Tensor
    target: Tensor


def batches(
    items: Iterable[tuple[str, Tensor, Tensor]], size: int, area: int = _AREA
) -> Iterator[Batch]:
    """Neighbouring pairs of equal size together; the order is kept.

    Args:
        items: names and pairs of ``(1, 3, h, w)``.
        size: at most so many pairs.
        area: at most so many pixels a side, unless one image has more.
    """
    import torch

    waiting: list[tuple[str, Tensor, Tensor]] = []

    def together() -> Batch:
        names, preds, targets = zip(*waiting, strict=True)
        waiting.clear()
        return Batch(list(names), torch.cat(preds), torch.cat(targets))

    for item in items:
        height, width = item[1].shape[2:]
        full = len(waiting) >= min(size, max(1, area // (height * width)))
        if waiting and (full or waiting[0][1].shape != item[1].shape):
            yield together()
        waiting.append(item)
    if waiting:
        yield together()


def load_pairs(
    pairs: Iterable[tuple[str, Path, Path]],
    workers: int,
    *,
    size: int | None = None,
    border: int = 0,
    luma: bool = False,
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Read pairs of images in threads, ahead, but never holding more than a few at once.

    Args:
        pairs: names and files.
        workers: threads; at most twice as many pairs are held, fewer of large images.
        size: scale the shorter side to so many pixels.
        border: pixels to cut off each side.
        luma: give the luma only.

    Raises:
        LosskitError: a file cannot be read, or the two of a pair differ in size.
    """

    def read(path: Path, name: str) -> Tensor:
        image = read_image(path, size=size)
        try:
            return measured_part(image, border=border, luma=luma)
        except ValueError as error:
            raise LosskitError(f"{name!r}: {error}") from error

    waiting = iter(pairs)
    with ThreadPoolExecutor(workers) as pool:
        futures: deque[tuple[str, int, Future[Tensor], Future[Tensor]]] = deque()
        exhausted = False
        while futures or not exhausted:
            while not exhausted and len(futures) < 2 * workers:
                if futures and sum(area for _, area, _, _ in futures) >= _AREA:
                    break
                item = next(waiting, None)
                if item is None:
                    exhausted = True
                    break
                name, a, b = item
                futures.append(
                    (name, pixels_in(a), pool.submit(read, a, name), pool.submit(read, b, name))
                )
            if not futures:
                return
            name, _, first, second = futures.popleft()
            left, right = first.result(), second.result()
            if left.shape != right.shape:
                sizes = [f"{t.shape[3]}×{t.shape[2]}" for t in (left, right)]
                raise LosskitError(f"{name!r}: the images' sizes differ, {sizes[0]} and {sizes[1]}")
            yield name, left, right
