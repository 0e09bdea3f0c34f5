"""Validation of a generator on images kept aside: ``validate`` of a training config."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError
from losskit.images.pixels import measured_part
from losskit.objectives.scoring import Scorer
from losskit.text import one_line
from losskit_gan.penalties.double_backward import as_written
from losskit_train.config.training import TrainConfig
from losskit_train.data.samples import eight_bits, in_range, scale_of, shrink, with_hole
from losskit_train.data.sources import open_source
from losskit_train.output import sampling
from losskit_train.output.maker import Maker
from losskit_train.run import checkpoints

#: Networks halve their images so often at most: the trial keeps sides' remainders by this.
_MODULUS = 64
#: The side of the images that the metrics' trial sees; multi-scale SSIM needs 161.
_TRIAL = 256

_Item = dict[str, Tensor]


class Validation:
    """Metrics of a generator on whole images, as ``losskit eval`` has them of its saved pictures.

    Args:
        config: the run's, which has a ``validate`` section.
        latent_dim: length of noise vectors, for a generator that takes noise beside an image.

    Raises:
        ConfigError: there are no such images or metrics, or an image is bad.
    """

    def __init__(self, config: TrainConfig, *, latent_dim: int | None) -> None:
        section = config.validate
        assert section is not None
        self.section = section
        self.config = config
        self.latent_dim = latent_dim
        data = replace(
            config.data,
            **{key: getattr(section, key) for key in ("images", "inputs", "options")},
            size=1,
            skip_bad=False,  # the mean of other images is another
            cache=False,
        )
        try:
            self.source = open_source(data, allow_import=config.allow_import)
        except LosskitError as error:
            told = str(error).partition(" (data.skip_bad")[0]
            raise ConfigError(
                re.sub(r"\bdata\.(?=images|inputs|options)", "validate.", told)
            ) from error
        try:
            self.scorers = {
                name: Scorer(metric, "cpu") for name, metric in section.named_metrics().items()
            }
        except LosskitError as error:
            raise ConfigError(f"validate.metrics: {error}") from error

    def rehearse(self, generator: nn.Module) -> None:
        """Try the generator on a part of the first image, and the metrics on another.

        Raises:
            ConfigError: one of them fails.
        """
        name = self.source.names[0]
        item = self._item(0, most=_MODULUS)
        maker = self._maker(generator, torch.device("cpu"))
        self._made(maker, [item], [name])
        truth = eight_bits(self._unit(self._item(0, most=_TRIAL)["real_imgs"]))
        self._scores(truth[None], truth[None], [name])

    def __call__(
        self,
        generator: nn.Module,
        device: torch.device,
        *,
        rank: int = 0,
        world_size: int = 1,
        tell: Callable[[int, int], None] | None = None,
    ) -> dict[str, float]:
        """The mean of each metric over all images, as ``val_NAME``.

        No random number that the training will see is drawn.

        Args:
            generator: the network; it is put back into the mode that it was in.
            device: its device, which the metrics' networks are brought to.
            rank: this process, which takes each ``world_size``-th image.
            world_size: processes that share the images, and tell each other their values.
            tell: called with how many images are done, and how many there are.

        Raises:
            LosskitError: the generator or a metric fails; the message names the image.
        """
        maker = self._maker(generator, device)
        for scorer in self.scorers.values():
            scorer.to(device)
        mine = range(rank, len(self.source), world_size)
        values: dict[int, dict[str, float]] = {}
        random = checkpoints.random_state()
        try:
            for indices, items in self._batches(mine):
                names = [self.source.names[index] for index in indices]
                columns = self._compared(maker, items, names)
                for place, index in enumerate(indices):
                    values[index] = {key: column[place] for key, column in columns.items()}
                if tell is not None:
                    tell(len(values), len(mine))
        finally:
            checkpoints.set_random_state(random)
        if world_size > 1:
            everybodys: list[Any] = [None] * world_size
            torch.distributed.all_gather_object(everybodys, values)
            values = {index: row for part in everybodys for index, row in part.items()}
        rows = [values[index] for index in sorted(values)]
        return {f"val_{key}": math.fsum(row[key] for row in rows) / len(rows) for key in rows[0]}

    def is_best(self, values: Mapping[str, float], best: Mapping[str, Any] | None) -> bool:
        """Return whether values are better than those of the best checkpoint of the same validation.

        Args:
            values: as this gives them.
            best: what was written beside the best checkpoint; ``None``: there is none.
        """
        if self.section.keep_best is None:
            return False
        value = values[f"val_{self.section.keep_best}"]
        known = best is not None and best.get("of") == self._identity()
        rival: float = best["value"] if best is not None and known else math.inf
        return math.isfinite(value) and value < rival

    def record(self, values: Mapping[str, float]) -> dict[str, Any]:
        """Make the record to write beside a checkpoint that is the best so far."""
        return {"of": self._identity(), "value": values[f"val_{self.section.keep_best}"]}

    def _identity(self) -> str:
        """Of what a best value is the best: values of other images and metrics are no rivals."""
        return repr(replace(self.section, every=1))

    def _maker(self, generator: nn.Module, device: torch.device) -> Maker:
        size = len(self.source)  # what comes together is decided here
        return Maker(generator, self.config, batch=size, device=str(device), seed=self.config.seed)

    def _batches(self, indices: Sequence[int]) -> Iterator[tuple[list[int], list[_Item]]]:
        """Neighbours of equal shapes, of no more pixels than a training step has."""
        area = self.config.data.batch_size * self.config.data.size**2
        waiting: list[tuple[int, _Item]] = []
        for index in indices:
            item = self._item(index)
            shapes = {key: tensor.shape for key, tensor in item.items()}
            if waiting and (
                shapes != {key: tensor.shape for key, tensor in waiting[0][1].items()}
                or (len(waiting) + 1) * item["real_imgs"][0].numel() > area
            ):
                yield [i for i, _ in waiting], [waited for _, waited in waiting]
                waiting = []
            waiting.append((index, item))
        if waiting:
            yield [i for i, _ in waiting], [waited for _, waited in waiting]

    def _item(self, index: int, *, most: int | None = None) -> _Item:
        """One image's inputs, by name; with ``most`` only a part, whose sides are about that."""
        data = self.config.data
        images = self.source[index]
        real, scale = images[-1], data.scale if data.task == "super-resolution" else 1
        if data.task == "paired":
            scale = scale_of(images[0], real, f"validate: {self.source.names[index]}")
        sides = [side // scale for side in real.shape[-2:]]  # of the input
        if self.section.size:
            sides = [min(side, self.section.size // scale) for side in sides]
        if most is not None:
            least = max(most, data.size) // scale
            sides = [
                min(side, side % _MODULUS + -(-least // _MODULUS) * _MODULUS) for side in sides
            ]
        begins = [
            (side // scale - own) // 2 for side, own in zip(real.shape[-2:], sides, strict=True)
        ]
        real = _part(real, begins, sides, scale)
        item = {"real_imgs": self._ranged(real.float().div(255))}
        random = np.random.default_rng([self.config.seed, index])
        if data.task == "paired":
            item["lq"] = self._ranged(_part(images[0], begins, sides, 1).float().div(255))
        elif data.task == "super-resolution":
            item["lq"] = self._ranged(shrink(real[None].float().div(255), scale)[0])
        else:
            item |= with_hole(item["real_imgs"], data, random)
        if "noise" in self.config.model.inputs:
            assert self.latent_dim is not None
            seed = self.config.seed + index
            item["noise"] = sampling.noise(1, self.latent_dim, seed=seed)[0]
        return item

    def _ranged(self, image: Tensor) -> Tensor:
        return in_range(image, self.config.data.value_range)

    def _unit(self, image: Tensor) -> Tensor:
        return sampling.unit_range(image, self.config.data.value_range)

    def _compared(
        self, maker: Maker, items: Sequence[_Item], names: Sequence[str]
    ) -> dict[str, list[float]]:
        pred = self._made(maker, items, names)
        truth = torch.stack([eight_bits(self._unit(item["real_imgs"])) for item in items])
        return self._scores(pred, truth.to(maker.device), names)

    def _made(self, maker: Maker, items: Sequence[_Item], names: Sequence[str]) -> Tensor:
        try:
            with as_written(twice=False):  # each size would be compiled anew
                images = torch.stack([eight_bits(image) for image in maker(items)])
        except (ValueError, TypeError, RuntimeError, KeyError) as error:
            raise ConfigError(
                f"validate: the generator fails on {names[0]} ({one_line(error):.200}): "
                "give validate.size, the side of the square that is taken from the middle"
            ) from error
        wished = items[0]["real_imgs"].shape
        if images.shape[1:] != wished:
            found, right = (
                f"{s[2]}x{s[1]} with {s[0]} channels" for s in (images.shape[1:], wished)
            )
            raise ConfigError(f"validate: of {names[0]} the generator makes {found}, not {right}")
        return images.to(maker.device)

    def _scores(self, pred: Tensor, truth: Tensor, names: Sequence[str]) -> dict[str, list[float]]:
        options: dict[str, Any] = {
            "border": self.section.crop_border,
            "luma": self.section.y_channel,
        }
        try:
            sides = [
                measured_part(image.expand(-1, 3, -1, -1), **options) for image in (pred, truth)
            ]
            return {key: scorer(sides[0], sides[1], names) for key, scorer in self.scorers.items()}
        except (LosskitError, ValueError) as error:
            raise ConfigError(f"validate: {names[0]}: {error}") from error


def _part(image: Tensor, begins: Sequence[int], sides: Sequence[int], scale: int) -> Tensor:
    (top, left), (height, width) = begins, sides
    return image[:, top * scale : (top + height) * scale, left * scale : (left + width) * scale]
