"""Small SVG drawings: legible in dark and light, and to colour-blind eyes. No dependency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

#: Okabe and Ito's palette, by how well the colours stand apart on white and on near-black.
#: ``currentColor`` takes the place of their black; their yellow is left out: white swallows it.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "currentColor")
#: Line styles, so that no two lines differ by colour alone.
DASHES = ("", "6 2", "2 2", "8 2 2 2", "", "6 2", "2 2")
#: Colours of text, grid and paper; a page that holds drawings inline declares them once.
STYLE = """\
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --paper: #0d1117; }
}
svg { color: var(--ink); font-family: system-ui, sans-serif; font-variant-numeric: tabular-nums; }
svg text { fill: currentColor; }
svg .soft { fill: var(--soft); }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .paper { fill: var(--paper); }"""


def document(
    width: float, height: float, parts: Iterable[str], *, title: str, styled: bool = True
) -> str:
    """An SVG drawing.

    Args:
        width: pixels.
        height: pixels.
        parts: what ``text``, ``line``, ``rect`` and ``curve`` gave.
        title: for screen readers, and for the pointer that rests on it.
        styled: carry ``STYLE`` and a background: a file of its own. ``False``: part of a page.
    """
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">'
    )
    own = [f"<style>{STYLE}</style>", rect(0, 0, width, height, "", css="paper")] if styled else []
    return "\n".join([head, f"<title>{escape(title)}</title>", *own, *parts, "</svg>\n"])


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: float = 12,
    css: str = "",
    rotate: float = 0,
    bold: bool = False,
) -> str:
    """Words with their baseline at ``y``; ``anchor`` is ``start``, ``middle`` or ``end``."""
    turn = f' transform="rotate({rotate:g} {x:.1f} {y:.1f})"' if rotate else ""
    kind = f' class="{css}"' if css else ""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{kind}{weight}{turn}>'
        f"{escape(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str = "", width: float = 1) -> str:
    """A straight line; without a colour, one of the grid."""
    stroke = f'stroke="{colour}" stroke-width="{width:g}"' if colour else 'class="grid"'
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {stroke}/>'


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str,
    *,
    css: str = "",
    opacity: float = 1,
) -> str:
    """A filled rectangle."""
    fill = f'class="{css}"' if css else f'fill="{colour}"'
    faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {fill}{faint}/>'
    )


def curve(
    points: Sequence[tuple[float, float]], *, colour: str, width: float = 2, dash: str = ""
) -> str:
    """A line through points; one that is not finite breaks it."""
    pieces, pen = [], "M"
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        pieces.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{" ".join(pieces)}" fill="none" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-linejoin="round"{style}/>'
    )


def dot(x: float, y: float, colour: str, radius: float = 3) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``count`` of them: steps of 1, 2 or 5 × 10ⁿ."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """A value in three figures, with a true minus sign."""
    words = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return words.replace("-", "−")
