"""A balance report as a drawing."""

from __future__ import annotations

from losskit.cli.svg import PALETTE, document, line, number, rect, text, ticks
from losskit.objectives.balance import BalanceReport

_RIGHT, _TOP, _ROW = 150.0, 58.0, 38.0
_PLOT = 360.0
_LETTER, _LONGEST = 7.6, 48  # width of a letter of a term's name; letters there is room for


def draw(report: BalanceReport) -> str:
    """Each term's share of the gradient as a bar, and its wished share as a mark, in SVG."""
    names = [_fitting(term.name) for term in report.terms]
    left = max(210.0, 26 + _LETTER * max(map(len, names)))
    longest = max(term.share for term in report.terms)
    top = min(1.0, max([longest, *report.wanted.values()]) * 1.05) or 1.0
    height = _TOP + _ROW * len(names) + 54

    def at(share: float) -> float:
        return left + _PLOT * share / top

    bottom = _TOP + _ROW * len(names)
    parts = [text(16, 26, "Share of the gradient, by term", size=16, bold=True)]
    parts += [
        rect(left, 36, 12, 10, PALETTE[0]),
        text(left + 18, 45, "now", css="soft"),
        rect(left + 56, 34, 3, 14, PALETTE[1]),
        text(left + 66, 45, "wanted", css="soft"),
        text(left + _PLOT + 14, 45, "weight → proposed", css="soft"),
    ]
    for tick in ticks(0, top, 5):
        parts += [
            line(at(tick), _TOP, at(tick), bottom),
            text(at(tick), bottom + 18, f"{tick:.0%}", anchor="middle", css="soft"),
        ]
    for index, (term, name) in enumerate(zip(report.terms, names, strict=True)):
        y = _TOP + _ROW * index
        now = "adaptive" if term.weight is None else number(term.weight)
        then = "–" if term.proposed is None else number(term.proposed)
        wanted = at(report.wanted.get(term.name, 0.0))
        norm = f"‖∇‖ {number(term.norm)}" if term.active else "not active at this iteration"
        parts += [
            text(left - 10, y + 18, name, anchor="end", size=13),
            text(left - 10, y + 31, norm, anchor="end", size=10, css="soft"),
            rect(left, y + 9, at(term.share) - left, 20, PALETTE[0]),
            *([rect(wanted - 1.5, y + 4, 3, 30, PALETTE[1])] if term.active else []),
            text(left + _PLOT + 14, y + 23, f"{now} → {then}", size=13),
        ]
    caption = f"share of the sum of gradient norms at the pixels, mean of {report.batches} batch"
    caption += "" if report.batches == 1 else "es"
    parts.append(text(left + _PLOT / 2, bottom + 40, caption, anchor="middle", css="soft"))
    width = left + _PLOT + _RIGHT
    return document(width, height, parts, title="Share of the gradient, by term")


def _fitting(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
