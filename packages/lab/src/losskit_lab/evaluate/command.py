"""``losskit eval PRED TARGET --loss NAME ...``: losses between images, as a table."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from losskit.cli.arguments import check_least, parse_loss, parse_range
from losskit.cli.listing import add_json, print_json, print_table
from losskit.cli.progress import track
from losskit.errors import LosskitError
from losskit.images.files import paired_files
from losskit.images.pairs import batches, load_pairs
from losskit.images.pixels import require_images
from losskit.text import one_line


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit eval``."""
    parser.add_argument(
        "pred",
        type=Path,
        help="an image, or a folder of images; what is transparent is laid on white, orientation tags are followed",
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
        "--objective",
        type=Path,
        metavar="FILE",
        help="an objective's config: its terms and their total, instead of or beside --loss",
    )
    parser.add_argument(
        "--iteration", type=int, default=0, help="that the objective's schedules see (default 0)"
    )
    parser.add_argument(
        "--crop-border", type=int, default=0, metavar="PX", help="cut so many pixels off each side"
    )
    parser.add_argument(
        "--y-channel",
        action="store_true",
        help="compare luma only (Y of BT.601, 16 to 235), as benchmarks of super-resolution do",
    )
    parser.add_argument(
        "--pred-suffix",
        default="",
        metavar="TEXT",
        help="what names in PRED have more: 'x4' compares 0001x4.png with 0001.png",
    )
    parser.add_argument(
        "--range",
        type=parse_range,
        default=(0.0, 1.0),
        metavar="LOW,HIGH",
        help="the values the losses get for black and white: 0,1 (default), or --range=-1,1; losses "
        "with a data_range are told it",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table as CSV")
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="DIR",
        help="write heat maps of the losses that give a value per pixel (reduction 'none')",
    )
    parser.add_argument("--batch", type=int, default=8, help="equal-sized images compared at once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--workers", type=int, default=4, help="threads that read images")
    add_json(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from losskit.objectives.scoring import ObjectiveScorer, Scorer, summarise
    from losskit_lab.evaluate.heatmaps import HeatMaps

    check_least(arguments, batch=1, workers=1, crop_border=0, iteration=0)
    require_images()
    pairs = paired_files(arguments.pred, arguments.target, pred_suffix=arguments.pred_suffix)
    device, span = arguments.device, arguments.range
    losses = list(dict.fromkeys(arguments.loss))
    if not losses and not arguments.objective:
        losses = ["L1Loss", "PSNRLoss"]
    scorers = {name: Scorer(parse_loss(name), device, span) for name in losses}
    objective = arguments.objective and ObjectiveScorer(
        arguments.objective, device, arguments.iteration
    )
    maps = HeatMaps(scorers, arguments.maps) if arguments.maps else None
    low, high = span
    rows: list[dict[str, Any]] = []
    read = load_pairs(
        _progress(pairs),
        arguments.workers,
        border=arguments.crop_border,
        luma=arguments.y_channel,
    )
    for batch in batches(read, arguments.batch):
        pred, target = (side.to(device) * (high - low) + low for side in (batch.pred, batch.target))
        columns = {key: scorer(pred, target, batch.names) for key, scorer in scorers.items()}
        for index, name in enumerate(batch.names):
            pair = pred[index : index + 1], target[index : index + 1]
            row = {"image": name, **{key: columns[key][index] for key in losses}}
            rows.append(row | (objective(*pair, name) if objective else {}))
            if maps:
                maps.write(name, *pair)
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "image"]
    # A term may leave itself out of some images.
    rows = [
        {"image": row["image"], **{key: row.get(key, math.nan) for key in names}} for row in rows
    ]
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
    """With progress shown where there are enough to wait for."""
    return pairs if len(pairs) < 8 else track(pairs, "comparing")
