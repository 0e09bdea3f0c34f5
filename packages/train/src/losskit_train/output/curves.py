"""The curves of a training run as a small SVG, legible in dark and in light."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from losskit.cli.svg import PALETTE, curve, document, line, number, text, ticks
from losskit.errors import LosskitError
from losskit.text import one_line
from losskit_train.output.recorder import read_metrics

_PANEL, _HEIGHT, _GAP, _LEFT, _TOP = 220.0, 96.0, 34.0, 52.0, 58.0


def loss_curves(
    rows: Sequence[Mapping[str, float]],
    *,
    title: str = "Losses by step",
    names: Sequence[str] | None = None,
    columns: int | None = None,
) -> str:
    """Draw one small panel for each logged value, each on a scale of its own.

    Terms of one objective differ by orders of magnitude, so that one common scale would flatten
    most of them.

    Args:
        rows: as ``metrics.csv`` has them: ``step`` and the values' means since the last row. A lazy
            penalty need not be in all of them.
        title: heads the drawing.
        names: which values, in this order; by default all but the totals, sorted.
        columns: panels side by side; by default 2 or 3.

    Returns:
        An SVG document.

    Raises:
        ValueError: there are no rows, one has no ``step``, or none has one of the ``names``.

    Example:
        >>> rows = [{"step": 10.0, "loss_gen": 1.0}, {"step": 20.0, "loss_gen": 0.5}]
        >>> loss_curves(rows).startswith("<svg")
        True
    """
    if not all("step" in row for row in rows):
        raise ValueError("rows must have a 'step' each, as metrics.csv has")
    known = sorted({name for row in rows for name in row} - {"step"})
    if not known:
        raise ValueError("rows hold no values: the run has logged nothing yet")
    for name in names or ():
        if name not in known:
            raise ValueError(f"no row has {name!r}; there are {', '.join(known)}")
    chosen = list(names or [name for name in known if not name.startswith("total")] or known)
    columns = min(columns or (2 if len(chosen) in (2, 4) else 3), len(chosen))
    last = max(row["step"] for row in rows)
    parts = [text(16, 28, title, size=16, bold=True)]
    for index, name in enumerate(chosen):
        points = [(row["step"], row[name]) for row in rows if name in row]
        left = _LEFT + (index % columns) * (_PANEL + _LEFT)
        top = _TOP + index // columns * (_HEIGHT + 2 * _GAP)
        parts += _panel(name, points, left, top, last)
    deep = math.ceil(len(chosen) / columns)
    return document(
        columns * (_PANEL + _LEFT) + _LEFT / 2,
        _TOP + deep * (_HEIGHT + 2 * _GAP),
        parts,
        title=title,
    )


def _panel(
    name: str, points: Sequence[tuple[float, float]], left: float, top: float, last: float
) -> list[str]:
    """Title, grid, tick labels and line of one value."""
    values = [value for _, value in points if math.isfinite(value)] or [0.0]
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.5 or 1.0
    low, high = low - margin, high + margin

    def at(step: float, value: float) -> tuple[float, float]:
        return (left + _PANEL * step / last, top + _HEIGHT * (high - value) / (high - low))

    bottom = top + _HEIGHT
    parts = [text(left, top - 10, name.removeprefix("loss_"), size=13)]
    for tick in ticks(low, high, 3):
        y = at(0, tick)[1]
        parts += [
            line(left, y, left + _PANEL, y),
            text(left - 6, y + 4, number(tick), anchor="end", size=10, css="soft"),
        ]
    for tick in ticks(0, last, 3):
        x = at(tick, low)[0]
        parts.append(text(x, bottom + 15, number(tick), anchor="middle", size=10, css="soft"))
    return [*parts, curve([at(*point) for point in points], colour=PALETTE[0], width=1.5)]


def draw_run(
    run: Path,
    out: Path | None = None,
    *,
    title: str = "Losses by step",
    names: Sequence[str] | None = None,
) -> Path:
    """Draw a run's curves into a file.

    Args:
        run: folder of a run, with its ``metrics.csv``, or that file.
        out: the SVG; by default ``curves.svg`` in that folder.
        title: above the curves.
        names: which values; by default all but the totals.

    Returns:
        The file.

    Raises:
        LosskitError: there is no record of a run, or it lacks a value of ``names``.
    """
    folder = run.parent if run.name == "metrics.csv" else run
    metrics, out = folder / "metrics.csv", out or folder / "curves.svg"
    if not metrics.is_file():
        raise LosskitError(f"{metrics} is missing: give the folder of a training run")
    try:
        rows = read_metrics(metrics)
    except (TypeError, ValueError) as error:
        raise LosskitError(f"{metrics} is no record of a run: {one_line(error)}") from error
    try:
        drawing = loss_curves(rows, title=title, names=names)
    except ValueError as error:
        raise LosskitError(error) from error
    out.write_text(drawing, encoding="utf-8")
    return out
