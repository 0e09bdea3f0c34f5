"""The atlas as one static page: no script, no server, dark and light."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from losskit.cli.svg import STYLE, number
from losskit.images.pixels import write_image
from losskit_lab.atlas.charts import costs_of, curves_of
from losskit_lab.atlas.distortions import DISTORTIONS
from losskit_lab.atlas.measure import EQUAL_PSNR, GRADIENTS, Entry, Photo
from losskit_lab.atlas.pictures import signed_colours, write_contact_sheet, write_steps
from losskit_lab.atlas.subjects import MARKS, NO_IMAGE
from losskit_lab.atlas.tables import write_ranking, write_values

_TITLE = "<title>Loss atlas</title>"
_FOLDERS = ("steps", "gradients", "curves")
_CSS = """
body { margin: 0 auto; padding: 1.5rem; max-width: 60rem; color: var(--ink); background: var(--paper);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; } h2 { margin: 2.5rem 0 .5rem; } h3 { margin: 0; font-size: 1.1rem; }
p, details { margin: .4rem 0; overflow-wrap: anywhere; } a { color: inherit; } .soft { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; text-align: right; font-weight: normal; white-space: nowrap; }
thead th { font-weight: 600; border-bottom: 1px solid var(--grid); }
th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; max-width: 17rem; }
table.steps td { padding: .15rem; text-align: center; font-size: .8rem; color: var(--soft); }
table.steps img { width: 112px; display: block; border-radius: 3px; }
article { border-top: 1px solid var(--grid); padding: 1rem 0; }
article .look { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin-top: .5rem; }
figure { margin: 0; font-size: .8rem; color: var(--soft); }
figure img { width: 150px; display: block; border-radius: 3px; }
.flag { border: 1px solid #D55E00; border-radius: 3px; padding: 0 .35rem; font-size: .8rem; }
.cell { background: rgb(86 180 233 / var(--tint)); border-radius: 3px; }
.rank { font-size: .75rem; }
"""


def write_page(
    entries: Sequence[Entry],
    photos: Sequence[Photo],
    skipped: Sequence[tuple[str, str]],
    folder: Path,
    *,
    version: str = "",
) -> Path:
    """Write ``index.html``, its pictures, ``contact-sheet.png``, ``ranking.csv`` and ``values.csv``.

    Args:
        entries: the losses that were measured.
        photos: what they were measured on.
        skipped: losses that were not, and why.
        folder: where; made if it does not exist.
        version: of the library, for the footer.

    Returns:
        The page's path.
    """
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    remove_page(folder)
    write_ranking(entries, photos, folder / "ranking.csv")
    write_values(entries, folder / "values.csv")
    write_contact_sheet(photos, folder / "contact-sheet.png")
    costs = [(entry.loss.marked, entry.cost) for entry in entries if entry.cost is not None]
    (folder / "costs.svg").write_text(costs_of(costs, styled=True), encoding="utf-8")
    steps = write_steps(photos[0], folder / "steps")
    files = file_names([entry.loss.label for entry in entries])
    cards = [_card(entry, name, folder) for entry, name in zip(entries, files, strict=True)]
    names = " and ".join(escape(photo.name) for photo in photos)
    size = "×".join(str(n) for n in reversed(photos[0].clean.shape[2:]))
    body = f"""
<main>
<h1>Loss atlas</h1>
<p>What {_losses(entries)} and what {"it costs" if len(entries) == 1 else "they cost"}, on {len(photos)} photographs
({names}, {size} pixels). Values are the increase over the value of the clean photograph, in units of
the change that noise of σ = 0.1 makes, so that losses compare: 2 means “twice as bad as that noise”.
Tables: <a href="ranking.csv">ranking.csv</a>, <a href="values.csv">values.csv</a>.
All strengths on one sheet: <a href="contact-sheet.png">contact-sheet.png</a>.</p>
{_warning(entries)}
<h2>The distortions</h2>
<p class="soft">Numbers are strengths, in the unit named; images lie in [0, 1].</p>
{_box("The distortions")}<table class="steps">{_steps(steps)}</table></div>
<h2>What each loss minds most</h2>
<p>Each distortion at the strength that leaves a PSNR of {EQUAL_PSNR:g} dB on each photograph: squared
error ties them all, so what differs is the loss’s own view. The small number is the rank, 1 for
what the loss minds most; the tint is the value beside the row’s largest.</p>
{_box("What each loss minds most")}<table>{_ranking(entries, files)}</table></div>
{_legend(entries)}
<h2>What they cost</h2>
<p class="soft">One forward and backward pass on one photograph, a new target each time, on one
thread; L1 is measured in turn with each loss. Memory is what autograd keeps for the backward pass,
weights left out.</p>
{_box("What the losses cost")}{costs_of(costs)}</div>
{_legend(entries)}
<h2>The losses</h2>
<p>Curves: value against strength, one scale for the row. Gradient: where a step of descent would
make the image brighter (orange) or darker (blue), with each picture’s own scale.</p>
{"".join(cards)}
{_skipped(skipped)}
<p class="soft">Made by <code>losskit atlas</code>{f" {escape(version)}" if version else ""}.</p>
</main>
"""
    page = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{_TITLE}\n<style>{STYLE}{_CSS}</style>\n{body}</html>\n"
    )
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def remove_page(folder: Path) -> None:
    """Delete an earlier page's pictures, and nothing in a folder that holds no such page."""
    try:
        ours = _TITLE in (folder / "index.html").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if ours:
        for name in _FOLDERS:
            for picture in (folder / name).glob("*.[ps][nv]g"):
                picture.unlink()


def _losses(entries: Sequence[Entry]) -> str:
    return "1 installed loss sees" if len(entries) == 1 else f"{len(entries)} installed losses see"


def file_names(labels: Sequence[str]) -> list[str]:
    """Labels as names that any file system and address takes; no two alike, whatever their case."""
    names: list[str] = []
    taken: set[str] = set()
    for label in labels:
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-") or "loss"
        name, copies = plain, 1
        while name.casefold() in taken:
            copies += 1
            name = f"{plain}-{copies}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _warning(entries: Sequence[Entry]) -> str:
    random = sum(entry.loss.random for entry in entries)
    if not random:
        return ""
    return (
        f'<p><span class="flag">random weights</span> {random} of these losses look through a '
        "network with random weights, because the true ones were not asked for (--true-weights) or "
        "cannot be had here. Their cost is that of the network they have by default; their curves "
        "show what an untrained one sees, not what the published loss does.</p>"
    )


def _steps(names: dict[str, list[str]]) -> str:
    rows = []
    for distortion in DISTORTIONS:
        cells = "".join(
            f'<td><img src="steps/{name}" alt="{distortion.name} {level:g}" loading="lazy">{level:g}</td>'
            for name, level in zip(names[distortion.name], distortion.levels, strict=True)
        )
        rows.append(
            f"<tr><th scope='row'>{distortion.name}<br><small class='soft'>{escape(distortion.unit)}</small></th>"
            f"{cells}</tr>"
        )
    return "".join(rows)


def _ranking(entries: Sequence[Entry], files: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{d.name}</th>' for d in DISTORTIONS)
    rows = [f'<thead><tr><th scope="col">loss</th>{head}</tr></thead>']
    for entry, file in zip(entries, files, strict=True):
        largest = max((abs(v) for v in entry.equal.values() if math.isfinite(v)), default=1) or 1
        cells = []
        for distortion in DISTORTIONS:
            value = entry.equal[distortion.name]
            tint = 0.55 * max(0.0, value) / largest if math.isfinite(value) else 0
            cells.append(
                f'<td class="cell" style="--tint:{tint:.2f}">{number(value)} '
                f'<span class="rank">{entry.ranks.get(distortion.name, "")}</span></td>'
            )
        link = f'<a href="#{file}">{escape(entry.loss.label)}</a>'
        mark = escape(entry.loss.marked.removeprefix(entry.loss.label))
        rows.append(f'<tr><th scope="row">{link}{mark}</th>{"".join(cells)}</tr>')
    return "".join(rows)


def _box(label: str) -> str:
    """The start of a box that scrolls, which keys reach too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'


def _legend(entries: Sequence[Entry]) -> str:
    """Explain the marks behind losses' names, of those that occur."""
    used = "".join(entry.loss.marked.removeprefix(entry.loss.label) for entry in entries)
    words = "; ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in used)
    return f'<p class="soft">{words}</p>' if words else ""


def _card(entry: Entry, name: str, folder: Path) -> str:
    loss = entry.loss
    (folder / "curves" / f"{name}.svg").write_text(
        curves_of(loss.marked, entry.curves, styled=True), encoding="utf-8"
    )
    figures = []
    for distortion in GRADIENTS:
        file = f"gradients/{name}-{distortion}.png"
        write_image(signed_colours(entry.gradients[distortion]), folder / file)
        caption = f"gradient under {distortion}"
        figures.append(
            f'<figure><img src="{file}" alt="{escape(loss.label)}: {caption}" loading="lazy">'
            f"{caption}</figure>"
        )
    flags = [MARKS["*"]] * loss.random + [MARKS["†"]] * bool(loss.note)
    flag = "".join(f' <span class="flag">{words}</span>' for words in flags)
    paper = f"<br>{escape(loss.spec.paper)}" if loss.spec.paper else ""
    note = f"<br>{escape(loss.note)}" if loss.note else ""
    missing = (
        '<details class="soft"><summary>true weights cannot be had here: why, and what helps</summary>'
        f"{escape(loss.missing)}</details>"
        if loss.missing
        else ""
    )
    cost = entry.cost
    price = (
        f"time {number(cost.time)}× L1 ({number(cost.milliseconds)} ms) · memory {number(cost.memory)}× L1 · "
        if cost
        else ""
    )
    return (
        f'<article id="{name}"><h3>{escape(loss.label)} '
        f'<small class="soft">{escape(loss.spec.namespace)}</small>{flag}</h3>'
        f"<p>{escape(loss.spec.summary)}</p>"
        f'<p class="soft">{price}clean image {number(entry.clean)} · noise 0.1 moves it by '
        f"{number(entry.unit)}{paper}{note}</p>{missing}"
        f'{_box(f"Curves of {loss.label}")}{curves_of(loss.marked, entry.curves)}</div><div class="look">{"".join(figures)}</div></article>\n'
    )


def _skipped(skipped: Sequence[tuple[str, str]]) -> str:
    """List the failures of losses, a line each; and in one line the losses that judge no image."""
    if not skipped:
        return ""
    failed = [(name, why) for name, why in skipped if why != NO_IMAGE]
    items = "".join(f"<li>{escape(n)}: {escape(why)}</li>" for n, why in failed)
    others = ", ".join(escape(name) for name, why in skipped if why == NO_IMAGE)
    rest = f'<p class="soft">No input that takes an image to judge: {others}.</p>' if others else ""
    return f"<h2>Left out</h2>{f'<ul>{items}</ul>' if items else ''}{rest}"
