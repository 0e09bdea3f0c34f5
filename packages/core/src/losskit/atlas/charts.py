"""The SVG drawings of the atlas: curves of one loss, costs of all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from losskit.atlas.distortions import DISTORTIONS
from losskit.atlas.measure import Entry
from losskit.svg import PALETTE, curve, document, dot, line, number, rect, text, ticks

_CELL, _GAP, _PLOT, _LEFT = 96.0, 12.0, 84.0, 50.0


def curves_of(entry: Entry, *, styled: bool = False) -> str:
    """One small plot a distortion, side by side on one scale: value against strength."""
    values = [v for curve_ in entry.curves.values() for v in curve_ if math.isfinite(v)] or [0, 1]
    low, high = min(0.0, *values), max(1.0, *values)
    margin = 0.04 * (high - low)
    low, high = low - (margin if low < 0 else 0), high + margin
    top, bottom = 24.0, 24.0 + _PLOT

    def height_of(value: float) -> float:
        return bottom - _PLOT * (value - low) / (high - low)

    marks = [t for t in ticks(low, high, 4) if low <= t <= high]
    parts = []
    for index, distortion in enumerate(DISTORTIONS):
        left = _LEFT + index * (_CELL + _GAP)
        span = distortion.levels[-1] - distortion.levels[0]
        parts += [line(left, height_of(t), left + _CELL, height_of(t)) for t in marks]
        if low < 0:
            parts.append(
                line(left, height_of(0), left + _CELL, height_of(0), colour="currentColor")
            )
        points = [
            (left + _CELL * level / span, height_of(value))
            for level, value in zip(distortion.levels, entry.curves[distortion.name], strict=True)
        ]
        colour = PALETTE[index]
        parts.append(curve(points, colour=colour))
        parts += [dot(x, y, colour, 2.5) for x, y in points if math.isfinite(y)]
        middle = left + _CELL / 2
        parts += [
            text(middle, 14, distortion.name, anchor="middle", bold=True),
            text(left, bottom + 13, "0", size=10, css="soft"),
            text(left + _CELL, bottom + 13, f"{span:g}", anchor="end", size=10, css="soft"),
            text(middle, bottom + 26, distortion.unit, anchor="middle", size=10, css="soft"),
        ]
    parts += [
        text(_LEFT - 6, height_of(t) + 4, number(t), anchor="end", size=10, css="soft")
        for t in marks
    ]
    parts.append(
        text(11, top + _PLOT / 2, "× noise 0.1", anchor="middle", size=10, css="soft", rotate=-90)
    )
    width = _LEFT + len(DISTORTIONS) * (_CELL + _GAP) + 4
    title = f"{entry.loss.label}: increase against strength, in units of that under noise of σ 0.1"
    return document(width, bottom + 34, parts, title=title, styled=styled)


def costs_of(entries: Sequence[Entry], *, styled: bool = False) -> str:
    """Time (bars) and memory (dots) of all losses beside L1, on a logarithmic scale."""
    rows = [entry for entry in entries if entry.cost is not None]
    left, plot, step, top = 220.0, 520.0, 22.0, 44.0
    most = max([10.0, *(max(e.cost.time, e.cost.memory) for e in rows if e.cost)])
    decades = math.ceil(math.log10(most))
    bottom = top + step * len(rows)

    def at(ratio: float) -> float:
        return left + plot * max(0.0, math.log10(max(ratio, 1e-9))) / decades

    parts = [
        rect(left, 8, 14, 11, PALETTE[0]),
        text(left + 20, 18, "processor time", css="soft"),
        dot(left + 136, 13.5, PALETTE[1], 5),
        text(left + 148, 18, "memory kept for the backward pass", css="soft"),
    ]
    for power in range(decades + 1):
        x = at(10.0**power)
        parts += [
            line(x, top - 6, x, bottom),
            text(x, bottom + 16, f"{10**power:,}×", anchor="middle", css="soft"),
        ]
    for index, entry in enumerate(rows):
        y = top + step * index
        cost = entry.cost
        assert cost is not None
        parts += [
            text(left - 10, y + 14, entry.loss.label[:30], anchor="end"),
            rect(left, y + 4, max(2.0, at(cost.time) - left), 12, PALETTE[0]),
            dot(at(cost.memory), y + 10, PALETTE[1], 4.5),
            text(
                left + plot + 14,
                y + 14,
                f"{number(cost.time)}× · {number(cost.memory)}×",
                css="soft",
                size=11,
            ),
        ]
    parts.append(
        text(
            left + plot / 2,
            bottom + 36,
            "relative to L1 (logarithmic)",
            anchor="middle",
            css="soft",
        )
    )
    title = "Time and memory of each loss relative to L1"
    return document(left + plot + 130, bottom + 46, parts, title=title, styled=styled)
