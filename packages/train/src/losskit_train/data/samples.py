"""Batches as a pure function of the step, so that a resumed run sees what it would have seen.

Sample number ``p`` of a run, counted over all steps and ranks, is an image of a permutation of the
images that depends on the seed and on ``p // n`` alone, augmented with a random generator that
depends on the seed and on ``p`` alone. Nothing has to be remembered but the step, whatever the
number of loading processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from losskit_train.config.sections import DataConfig
from losskit_train.data.masks import free_form_mask
from losskit_train.data.sources import DataError, Source, check_size, fit_of
from losskit_train.data.workers import leave_to_main_process


class Samples(Dataset[dict[str, Tensor]]):
    """The endless sequence of training samples, by their number.

    Each is a dict with ``real_imgs`` (and ``target``, the same), ``lq`` for every task but
    ``generation``, ``mask`` for ``inpainting``, and ``skipped``, the indices of the bad images that
    were passed over to find this one. In a bad image's place comes the next good one of its pass
    over the data, which the source's memory of bad images makes faster and does not change.

    Args:
        source: the images.
        config: the task and its augmentation.
        seed: of the order and the augmentation.
    """

    def __init__(self, source: Source, config: DataConfig, *, seed: int) -> None:
        self.source = source
        self.config = config
        self.seed = seed
        self._order: tuple[int, NDArray[Any]] = (-1, np.empty(0, dtype=np.int64))

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        epoch, place = divmod(position, len(self.source))
        order = self._permutation(epoch)
        skipped: list[int] = []
        while len(skipped) < len(order):
            index = int(order[(place + len(skipped)) % len(order)])
            if index not in self.source.bad:
                try:
                    images = self.source[index]
                    check_size(images[-1].shape[-2:], self.config, self.source.names[index])
                    random = np.random.default_rng([self.seed, 1, position])
                    sample = self._sample(images, random, self.source.names[index])
                except DataError as error:
                    if not self.config.skip_bad:
                        raise DataError(
                            f"{error} (data.skip_bad: true leaves such images out)"
                        ) from error
                    self.source.bad.add(index)
                else:
                    return {**sample, "skipped": torch.tensor(skipped, dtype=torch.int64)}
            skipped.append(index)
        raise DataError(
            f"not one of the {len(order)} images can be used; the last is {self.source.names[index]}"
        )

    def _permutation(self, epoch: int) -> NDArray[Any]:
        if self._order[0] != epoch:
            random = np.random.default_rng([self.seed, 0, epoch])
            self._order = (epoch, random.permutation(len(self.source)))
        return self._order[1]

    def _sample(
        self, images: tuple[Tensor, ...], random: np.random.Generator, name: str
    ) -> dict[str, Tensor]:
        config = self.config
        if config.task == "paired":
            lq, real = _paired_crop(images, config, random, name)
            pair = _augmented([lq, real], config, random)
            return {"lq": self._ranged(pair[0]), **self._real(pair[1])}
        (real,) = _augmented([square(images[0], config, random)], config, random)
        sample = self._real(real)
        if config.task == "super-resolution":
            small = shrink(real[None].float().div(255), config.scale)[0]
            sample["lq"] = in_range(small, config.value_range)
        elif config.task == "inpainting":
            sample |= with_hole(sample["real_imgs"], config, random)
        return sample

    def _real(self, image: Tensor) -> dict[str, Tensor]:
        ranged = self._ranged(image)
        return {"real_imgs": ranged, "target": ranged}

    def _ranged(self, image: Tensor) -> Tensor:
        return in_range(image.float().div(255), self.config.value_range)


def in_range(images: Tensor, value_range: Sequence[float]) -> Tensor:
    """Images in [0, 1] as values from black to white of ``data.value_range``."""
    low, high = value_range
    return images * (high - low) + low


def with_hole(image: Tensor, config: DataConfig, random: np.random.Generator) -> dict[str, Tensor]:
    """``real_imgs``, a random ``mask``, and ``lq``: the image with grey in the mask's hole."""
    mask = free_form_mask(*image.shape[-2:], share=config.hole, random=random)
    grey = sum(config.value_range) / 2
    return {"real_imgs": image, "mask": mask, "lq": image * (1 - mask) + grey * mask}


def shrink(images: Tensor, scale: int) -> Tensor:
    """Make ``(b, c, h, w)`` in [0, 1] smaller: bicubic, antialiased, clamped, rounded to 8 bits.

    The rounding is what a saved low-resolution picture would have gone through.
    """
    size = (images.shape[-2] // scale, images.shape[-1] // scale)
    small = F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
    return eight_bits(small)


def eight_bits(images: Tensor) -> Tensor:
    """Round images to 8 bits, as they are read from a saved picture."""
    return images.clamp(0, 1).mul(255).round().div(255)


def scale_of(lq: Tensor, real: Tensor, name: str) -> int:
    """Compute how many times larger an image is than its input.

    Raises:
        DataError: no whole number of times.
    """
    small, large = lq.shape[-2:], real.shape[-2:]
    scale = max(1, large[0] // small[0])
    if [side * scale for side in small] != list(large):
        raise DataError(
            f"{name} is {large[1]}x{large[0]} and its input {small[1]}x{small[0]}: "
            "the image must be a whole multiple of its input"
        )
    return scale


def square(image: Tensor, config: DataConfig, random: np.random.Generator) -> Tensor:
    """A random ``size``-by-``size`` part, after shrinking the shorter side to it where asked."""
    if fit_of(config) == "resize" and min(image.shape[-2:]) != config.size:
        ratio = config.size / min(image.shape[-2:])
        size = [max(config.size, round(side * ratio)) for side in image.shape[-2:]]
        resized = F.interpolate(
            image[None].float(), size=size, mode="bicubic", antialias=True, align_corners=False
        )
        image = resized[0].clamp(0, 255).round().to(torch.uint8)
    top, left = (int(random.integers(0, side - config.size + 1)) for side in image.shape[-2:])
    return image[:, top : top + config.size, left : left + config.size]


def _paired_crop(
    images: tuple[Tensor, ...], config: DataConfig, random: np.random.Generator, name: str
) -> tuple[Tensor, Tensor]:
    lq, real = images
    scale = scale_of(lq, real, name)
    if config.size % scale:
        raise DataError(f"data.size {config.size} is no multiple of {scale}, the scale of {name}")
    side = config.size // scale
    top, left = (int(random.integers(0, length - side + 1)) for length in lq.shape[-2:])
    rows, columns = (
        slice(top * scale, (top + side) * scale),
        slice(left * scale, (left + side) * scale),
    )
    return lq[:, top : top + side, left : left + side], real[:, rows, columns]


def _augmented(
    images: list[Tensor], config: DataConfig, random: np.random.Generator
) -> list[Tensor]:
    if config.flip and random.integers(2):
        images = [image.flip(-1) for image in images]
    if config.rotate:
        turns = int(random.integers(4))
        images = [image.rot90(turns, (-2, -1)) for image in images]
    return images


def _collated(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch; of what its samples passed over, each once."""
    skipped = {int(index) for sample in samples for index in sample.pop("skipped")}
    return {
        **default_collate(samples),
        "skipped": torch.tensor(sorted(skipped), dtype=torch.int64),
    }


class _Positions(Sampler[list[int]]):
    """The sample numbers of each step of one rank, from a step on, without end."""

    def __init__(self, batch_size: int, *, start: int, rank: int, world_size: int) -> None:
        self.batch_size = batch_size
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            first = (step * self.world_size + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))
            step += 1


def batches(
    source: Source, config: DataConfig, *, seed: int, start: int, rank: int = 0, world_size: int = 1
) -> Iterator[dict[str, Tensor]]:
    """One rank's batches from step ``start`` on, without end.

    ``skipped`` holds the indices of the bad images that a batch's samples passed over, each once.

    Args:
        source: the images.
        config: the task; ``batch_size`` is each rank's.
        seed: of order and augmentation.
        start: the first step.
        rank: this process.
        world_size: processes.

    Raises:
        DataError: an image is bad and ``skip_bad`` is off, or all are.
    """
    loader = DataLoader(
        Samples(source, config, seed=seed),
        batch_sampler=_Positions(config.batch_size, start=start, rank=rank, world_size=world_size),
        collate_fn=_collated,
        num_workers=config.workers,
        worker_init_fn=leave_to_main_process,
        # Its own generator: an iterator draws a seed when it starts, which would otherwise shift
        # the global random state of a resumed run.
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=False,
    )
    try:
        yield from loader
    except DataError as error:  # a worker's comes with its traceback as text
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None
