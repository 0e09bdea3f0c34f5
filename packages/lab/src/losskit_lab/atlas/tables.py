"""The atlas as CSV and JSON: which loss ranks which distortion how, and every value behind it."""

from __future__ import annotations

import csv
import datetime
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from losskit_lab.atlas.distortions import DISTORTIONS
from losskit_lab.atlas.measure import Entry, Photo


def write_ranking(entries: Sequence[Entry], photos: Sequence[Photo], path: Path) -> None:
    """A line a loss and distortion, at strengths that cost the same PSNR."""
    header = "loss plugin network distortion strength unit psnr_db increase_over_noise_0.1 rank"
    header += " time_over_l1 memory_over_l1 note"

    def rows() -> Iterable[Sequence[object]]:
        for entry in entries:
            for distortion in DISTORTIONS:
                reached = [photo.equal[distortion.name] for photo in photos]
                yield (
                    entry.loss.label,
                    entry.loss.spec.namespace,
                    "random weights" if entry.loss.random else "",
                    distortion.name,
                    f"{statistics.fmean(strength for strength, _, _ in reached):.4g}",
                    distortion.unit,
                    f"{statistics.fmean(decibels for _, _, decibels in reached):.2f}",
                    f"{entry.equal[distortion.name]:.4g}",
                    entry.ranks.get(distortion.name, ""),
                    f"{entry.cost.time:.3g}" if entry.cost else "",
                    f"{entry.cost.memory:.3g}" if entry.cost else "",
                    entry.loss.note,
                )

    _write(path, header.split(), rows())


def write_values(entries: Sequence[Entry], path: Path) -> None:
    """A line a loss, distortion and strength: what the curves show."""
    header = (
        "loss",
        "plugin",
        "distortion",
        "strength",
        "unit",
        "increase_over_noise_0.1",
        "increase",
    )

    def rows() -> Iterable[Sequence[object]]:
        for entry in entries:
            for distortion in DISTORTIONS:
                values = entry.curves[distortion.name]
                for level, value in zip(distortion.levels, values, strict=True):
                    raw = f"{value * entry.unit:.6g}"
                    yield (
                        entry.loss.label,
                        entry.loss.spec.namespace,
                        distortion.name,
                        level,
                        distortion.unit,
                        f"{value:.4g}",
                        raw,
                    )

    _write(path, header, rows())


def as_data(entries: Sequence[Entry], photos: Sequence[Photo]) -> dict[str, Any]:
    """Convert the measurements to plain data, for JSON; figures in four digits."""

    def rounded(value: float) -> float | None:
        return float(f"{value:.4g}") if math.isfinite(value) else None

    losses = [
        {
            "loss": entry.loss.label,
            "name": entry.loss.spec.qualified_name,
            "random_weights": entry.loss.random,
            "note": entry.loss.note,
            "time_over_l1": rounded(entry.cost.time) if entry.cost else None,
            "memory_over_l1": rounded(entry.cost.memory) if entry.cost else None,
            "milliseconds": rounded(entry.cost.milliseconds) if entry.cost else None,
            "clean": rounded(entry.clean),
            "unit": rounded(entry.unit),
            "curves": {name: list(map(rounded, v)) for name, v in entry.curves.items()},
            "at_equal_psnr": {name: rounded(v) for name, v in entry.equal.items()},
            "ranks": {d.name: entry.ranks.get(d.name) for d in DISTORTIONS},
        }
        for entry in entries
    ]
    return {
        "date": datetime.date.today().isoformat(),
        "photos": [photo.name for photo in photos],
        "size": list(photos[0].clean.shape[2:]),
        "losses": losses,
    }


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
