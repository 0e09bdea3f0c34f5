"""The SVG drawings of the atlas: curves of one loss, costs of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from losskit.cli.svg import PALETTE, curve, document, dot, line, number, rect, text, ticks
from losskit_lab.atlas.cost import Cost
from losskit_lab.atlas.distortions import DISTORTIONS

_CELL, _GAP, _PLOT, _LEFT = 96.0, 12.0, 84.0, 62.0


def curves_of(label: str, curves: Mapping[str, Sequence[float]], *, styled: bool = False) -> str:
    """One small plot a distortion, side by side on one scale: value against strength.

    Args:
        label: the loss's.
        curves: by distortion, a value for each level.
        styled: a file of its own, as against a part of a page that has the style.
    """
    values = [v for curve_ in curves.values() for v in curve_ if math.isfinite(v)] or [0, 1]
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
            for level, value in zip(distortion.levels, curves[distortion.name], strict=True)
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
    for x, words in ((11, "increase"), (23, "noise 0.1 = 1")):
        parts.append(
            text(x, top + _PLOT / 2, words, anchor="middle", size=10, css="soft", rotate=-90)
        )
    width = _LEFT + len(DISTORTIONS) * (_CELL + _GAP) + 4
    title = f"{label}: increase against strength, in units of that under noise of σ 0.1"
    return document(width, bottom + 34, parts, title=title, styled=styled)


def costs_of(rows: Sequence[tuple[str, Cost]], *, styled: bool = False) -> str:
    """Time (bars) and memory (dots) of losses beside L1, on a logarithmic scale."""
    left, plot, step, top = 230.0, 510.0, 22.0, 44.0
    most = max([10.0, *(max(cost.time, cost.memory) for _, cost in rows)])
    decades = math.ceil(math.log10(most))
    bottom = top + step * len(rows)

    def at(ratio: float) -> float:
        return left + plot * max(0.0, math.log10(max(ratio, 1e-9))) / decades

    parts = [
        rect(left, 8, 14, 11, PALETTE[0]),
        text(left + 20, 18, "processor time", css="soft"),
        dot(left + 136, 13.5, PALETTE[1], 5),
        text(left + 148, 18, "memory kept for the backward pass", css="soft"),
        text(left + plot + 14, 18, "time · memory", css="soft", size=11),
    ]
    for power in range(decades + 1):
        x = at(10.0**power)
        parts += [
            line(x, top - 6, x, bottom),
            text(x, bottom + 16, f"{10**power:,}×", anchor="middle", css="soft"),
        ]
    for index, (label, cost) in enumerate(rows):
        y = top + step * index
        parts += [
            text(left - 10, y + 14, label if len(label) <= 32 else label[:31] + "…", anchor="end"),
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
