"""``losskit eval PRED TARGET --loss NAME ...``: losses between images, as a table."""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.cli.images import paired_files, read_image, write_image
from losskit.cli.listing import add_json, print_json, print_table
from losskit.errors import ConfigError, LosskitError
from losskit.spec import one_line

if TYPE_CHECKING:
    from torch import Tensor

    from losskit.term import Term


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit eval``."""
    parser.add_argument("pred", type=Path, help="an image, or a folder of images")
    parser.add_argument("target", type=Path, help="the image or folder to compare with")
    parser.add_argument(
        "--loss",
        action="append",
        default=[],
        metavar="NAME",
        help="a loss of pred and target, with options: 'CharbonnierLoss:eps=1e-6'; repeatable "
        "(default: L1Loss, PSNRLoss)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="DIR",
        help="write heat maps of the losses that give a value per pixel (reduction='none')",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--workers", type=int, default=4, help="threads that read images")
    add_json(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    pairs = paired_files(arguments.pred, arguments.target)
    names = arguments.loss or ["L1Loss", "PSNRLoss"]
    terms = {name: _image_loss(name, arguments.device) for name in names}
    maps = _map_losses(names, arguments.device) if arguments.maps else {}
    rows: list[dict[str, Any]] = []
    for name, pred, target in _progress(_load(pairs, arguments.workers), len(pairs)):
        pred, target = pred.to(arguments.device), target.to(arguments.device)
        rows.append(
            {
                "image": name,
                **{key: _value(term, pred, target, name) for key, term in terms.items()},
            }
        )
        for key, term in maps.items():
            _write_map(term, pred, target, arguments.maps / key / f"{Path(name).stem}.png")
    summary = {key: summarise([row[key] for row in rows]) for key in names}
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["image", *names])
            writer.writeheader()
            writer.writerows(rows)
    if arguments.json:
        print_json(images=rows, summary=summary)
        return 0
    table = [[row["image"], *(f"{row[key]:.6g}" for key in names)] for row in rows]
    if len(rows) > 1:
        table.append(["mean", *(f"{summary[key]['mean']:.6g}" for key in names)])
        table.append(["± 95 %", *(f"{summary[key]['ci95']:.2g}" for key in names)])
    print_table(["image", *names], table)
    return 0


def summarise(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation, and half the 95 % confidence interval of the mean (normal)."""
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": mean,
        "std": deviation,
        "ci95": 1.96 * deviation / math.sqrt(len(values)),
        "n": len(values),
    }


def parse_loss(text: str) -> dict[str, Any]:
    """``"CharbonnierLoss:eps=1e-6,reduction=sum"`` as a config; values are read as JSON if they are.

    Raises:
        ConfigError: an option has no ``=``.
    """
    name, _, options = text.partition(":")
    config: dict[str, Any] = {"type": name}
    for part in filter(None, options.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--loss {text!r}: write options as key=value, not {part!r}")
        try:
            config[key] = json.loads(value)
        except json.JSONDecodeError:
            config[key] = value
    return config


def _image_loss(text: str, device: str) -> Term:
    from losskit.loss import input_parameters
    from losskit.registry import build

    term = build(parse_loss(text))
    inputs = input_parameters(term.loss)
    required = [name for name, p in inputs.items() if p.default is p.empty]
    if not {"pred", "target"} <= set(inputs) or set(required) - {"pred", "target"}:
        raise ConfigError(
            f"{term.type_name} does not compare two images: its inputs are {', '.join(inputs)}; "
            "see `losskit list --tag image`"
        )
    return term.to(device).eval()


def _map_losses(names: Iterable[str], device: str) -> Mapping[str, Term]:
    result = {}
    for name in names:
        try:
            result[name.partition(":")[0]] = _image_loss(
                f"{name}{',' if ':' in name else ':'}reduction=none", device
            )
        except ConfigError:
            print(f"losskit: {name} gives no map", file=sys.stderr)
    return result


def _load(
    pairs: list[tuple[str, Path, Path]], workers: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Read ahead in threads, but never hold more than a few images at once."""
    waiting = iter(pairs)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [
            (name, pool.submit(read_image, a), pool.submit(read_image, b))
            for name, a, b in islice(waiting, 2 * workers)
        ]
        while futures:
            name, pred, target = futures.pop(0)
            for next_name, a, b in islice(waiting, 1):
                futures.append((next_name, pool.submit(read_image, a), pool.submit(read_image, b)))
            left, right = pred.result(), target.result()
            if left.shape != right.shape:
                sizes = [f"{t.shape[3]}×{t.shape[2]}" for t in (left, right)]
                raise LosskitError(f"{name!r}: the images' sizes differ, {sizes[0]} and {sizes[1]}")
            yield name, left, right


def _value(term: Term, pred: Tensor, target: Tensor, name: str) -> float:
    import torch

    try:
        with torch.no_grad():
            value = term(pred, target)
    except (ValueError, TypeError, RuntimeError) as error:
        raise LosskitError(f"{term.type_name} on {name!r}: {one_line(error)}") from error
    if value is None or value.numel() != 1:
        raise ConfigError(f"{term.type_name} must give one number here: leave out reduction")
    return float(value)


def _write_map(term: Term, pred: Tensor, target: Tensor, path: Path) -> None:
    """A grey heat map, white at the image's largest value; skips losses without a value per pixel."""
    import torch

    with torch.no_grad():
        values = term(pred, target)
    if values is None or values.shape[-2:] != pred.shape[-2:]:
        return
    heat = values.reshape(-1, *pred.shape[-2:]).mean(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image((heat / heat.max().clamp_min(1e-12)).expand(3, -1, -1), path)


def _progress(items: Iterable[Any], total: int) -> Iterator[Any]:
    """A progress bar where there is a terminal and enough to wait for."""
    if total < 8 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, "comparing", total=total, console=Console(stderr=True))
