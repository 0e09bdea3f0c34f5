"""``losskit eval PRED TARGET --loss NAME ...``: losses between images, as a table."""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.cli.images import paired_files, read_image
from losskit.cli.listing import add_json, print_json, print_table
from losskit.errors import ConfigError, LosskitError
from losskit.spec import one_line

if TYPE_CHECKING:
    from torch import Tensor

#: Commas between options: those that no bracket closes over.
_COMMAS = re.compile(r",(?![^\[{]*[\]}])")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit eval``."""
    parser.add_argument(
        "pred",
        type=Path,
        help="an image, or a folder of images; transparency is dropped, orientation tags are followed",
    )
    parser.add_argument("target", type=Path, help="the image or folder to compare with")
    parser.add_argument(
        "--loss",
        action="append",
        default=[],
        metavar="NAME",
        help="a loss of pred and target, with options: 'CharbonnierLoss:eps=1e-6'; repeatable "
        "(default: L1Loss, PSNRLoss)",
    )
    parser.add_argument(
        "--range",
        type=parse_range,
        default=(0.0, 1.0),
        metavar="LOW,HIGH",
        help="the values the losses get for black and white: 0,1 (default), or --range=-1,1",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="DIR",
        help="write heat maps of the losses that give a value per pixel (reduction='none')",
    )
    parser.add_argument("--batch", type=int, default=8, help="equal-sized images compared at once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--workers", type=int, default=4, help="threads that read images")
    add_json(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from losskit.cli.heatmaps import HeatMaps
    from losskit.cli.scoring import Scorer, summarise

    for name in ("batch", "workers"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, not {getattr(arguments, name)}")
    pairs = paired_files(arguments.pred, arguments.target)
    names = list(dict.fromkeys(arguments.loss)) or ["L1Loss", "PSNRLoss"]
    scorers = {name: Scorer(parse_loss(name), arguments.device) for name in names}
    maps = HeatMaps(scorers, arguments.maps) if arguments.maps else None
    low, high = arguments.range
    rows: list[dict[str, Any]] = []
    for batch in batches(load_pairs(_progress(pairs), arguments.workers), arguments.batch):
        pred, target = (
            (side.to(arguments.device) * (high - low) + low) for side in (batch.pred, batch.target)
        )
        columns = {key: scorer(pred, target, batch.names) for key, scorer in scorers.items()}
        for index, name in enumerate(batch.names):
            rows.append({"image": name, **{key: columns[key][index] for key in names}})
            if maps:
                maps.write(name, pred[index : index + 1], target[index : index + 1])
    if maps:
        maps.finish()
    summary = {key: summarise([row[key] for row in rows]) for key in names}
    if arguments.csv:
        _write_csv(arguments.csv, names, rows, summary)
    if arguments.json:
        print_json(images=rows, summary=summary)
        return 0
    table = [[row["image"], *(f"{row[key]:.6g}" for key in names)] for row in rows]
    if len(rows) > 1:
        table.append(["mean", *(f"{summary[key]['mean']:.6g}" for key in names)])
        table.append(["± 95 %", *(f"{summary[key]['ci95']:.2g}" for key in names)])
    print_table(["image", *names], table)
    return 0


def parse_loss(text: str) -> dict[str, Any]:
    """``"CharbonnierLoss:eps=1e-6,reduction=sum"`` as a config; values are read as JSON if they are.

    Commas inside ``[...]`` and ``{...}`` belong to the value: ``layer_weights={"3": 1, "8": 0.5}``.

    Raises:
        ConfigError: an option has no ``=``.
    """
    name, _, options = text.partition(":")
    config: dict[str, Any] = {"type": name}
    for part in filter(None, _COMMAS.split(options)):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--loss {text!r}: write options as key=value, not {part!r}")
        try:
            config[key] = json.loads(value)
        except json.JSONDecodeError:
            config[key] = value
    return config


def parse_range(text: str) -> tuple[float, float]:
    """``"-1,1"`` as the values of black and white.

    Raises:
        argparse.ArgumentTypeError: it is not two numbers, the lower one first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"write it as LOW,HIGH, not {text!r}") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise argparse.ArgumentTypeError(f"both must be finite, not {text!r}")
    if low >= high:
        raise argparse.ArgumentTypeError(f"the lower value comes first, not {text!r}")
    return low, high


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one size: their names, and ``(b, 3, h, w)`` images in [0, 1]."""

    names: list[str]
    pred: Tensor
    target: Tensor


def batches(items: Iterable[tuple[str, Tensor, Tensor]], size: int) -> Iterator[Batch]:
    """Neighbouring pairs of equal size together, at most ``size`` of them; the order is kept."""
    import torch

    waiting: list[tuple[str, Tensor, Tensor]] = []

    def together() -> Batch:
        names, preds, targets = zip(*waiting, strict=True)
        waiting.clear()
        return Batch(list(names), torch.cat(preds), torch.cat(targets))

    for item in items:
        if waiting and (len(waiting) == size or waiting[0][1].shape != item[1].shape):
            yield together()
        waiting.append(item)
    if waiting:
        yield together()


def load_pairs(
    pairs: Iterable[tuple[str, Path, Path]], workers: int, *, size: int | None = None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Read pairs of images in threads, ahead, but never holding more than a few at once.

    Raises:
        LosskitError: a file cannot be read, or the two of a pair differ in size.
    """
    read = partial(read_image, size=size)
    waiting = iter(pairs)
    with ThreadPoolExecutor(workers) as pool:
        futures = [
            (name, pool.submit(read, a), pool.submit(read, b))
            for name, a, b in islice(waiting, 2 * workers)
        ]
        while futures:
            name, pred, target = futures.pop(0)
            for next_name, a, b in islice(waiting, 1):
                futures.append((next_name, pool.submit(read, a), pool.submit(read, b)))
            left, right = pred.result(), target.result()
            if left.shape != right.shape:
                sizes = [f"{t.shape[3]}×{t.shape[2]}" for t in (left, right)]
                raise LosskitError(f"{name!r}: the images' sizes differ, {sizes[0]} and {sizes[1]}")
            yield name, left, right


def _write_csv(
    path: Path, names: list[str], rows: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["image", *names])
            writer.writeheader()
            writer.writerows(rows)
            if len(rows) > 1:
                for figure in ("mean", "ci95"):
                    means = {name: summary[name][figure] for name in names}
                    writer.writerow({"image": figure, **means})
    except OSError as error:
        raise LosskitError(f"cannot write {path}: {one_line(error)}") from error


def _progress(pairs: list[tuple[str, Path, Path]]) -> Iterable[tuple[str, Path, Path]]:
    """A progress bar where there is a terminal and enough to wait for."""
    if len(pairs) < 8 or not sys.stderr.isatty():
        return pairs
    from rich.console import Console
    from rich.progress import track

    return track(pairs, "comparing", console=Console(stderr=True))
