"""The atlas in the docs: from the figures of ``docs/atlas.json``, which hold no photograph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from losskit.cli.svg import number
from losskit.spec import LossSpec
from losskit_lab.atlas.charts import costs_of, curves_of
from losskit_lab.atlas.cost import Cost
from losskit_lab.atlas.distortions import DISTORTIONS
from losskit_lab.atlas.page import file_names
from losskit_lab.atlas.subjects import marked

_CONTACT_SHEET = (
    '<a href="../atlas/index.html"><img src="../atlas/contact-sheet.png" '
    'alt="Contact sheet: each photograph under each distortion, from weak to strong"></a>'
)
COMMAND = ".ci/atlas docs/_extra/atlas > docs/atlas.json"


def read_atlas(path: Path) -> dict[str, Any]:
    """What ``losskit atlas --json`` printed; without losses where there is no such file."""
    empty: dict[str, Any] = {"losses": [], "photos": [], "size": [0, 0], "date": ""}
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else empty


def entries_of(spec: LossSpec, atlas: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A loss's own entries, the one with true weights first."""
    found = [entry for entry in atlas["losses"] if entry["name"] == spec.qualified_name]
    return sorted(found, key=lambda entry: bool(entry["random_weights"]))


def pictures_of(atlas: Mapping[str, Any], drawn: Path | None) -> dict[str, list[str]]:
    """Files of gradient images by a loss's label, where the atlas was drawn whole."""
    if drawn is None:
        return {}
    labels = [entry["loss"] for entry in atlas["losses"]]
    return {
        label: [
            file
            for distortion in DISTORTIONS
            if (drawn / "gradients" / (file := f"{name}-{distortion.name}.png")).exists()
        ]
        for label, name in zip(labels, file_names(labels), strict=True)
    }


def picture(
    entries: Sequence[Mapping[str, Any]], pictures: Mapping[str, Sequence[str]]
) -> list[str]:
    """Curves of the first entry of a loss, its gradient images if drawn, and the cost of each."""
    entry, *others = entries
    curves = {name: _numbers(values) for name, values in entry["curves"].items()}
    remark = f" {entry['note'][0].upper()}{entry['note'][1:]}." if entry["note"] else ""
    if entry["loss"] != entry["name"].partition("/")[2]:
        remark = f" Drawn as `{entry['loss']}`."
    if entry["random_weights"]:
        remark += " The network has **random weights** here: its cost is right, its curves are not those of the published loss."
    return [
        *html(curves_of(entry["loss"], curves)),
        *_gradients(entry["loss"], pictures.get(entry["loss"], ())),
        f"Cost: {_cost(entry)}.{remark}",
        *(f"As it is by default: {_cost(other)}." for other in others),
        "See [the atlas](atlas.md).",
        "",
    ]


def _gradients(label: str, files: Sequence[str]) -> list[str]:
    """Where the loss would have the image change, under each distortion."""
    figures = [
        f'<figure><img src="../atlas/gradients/{file}" alt="{label}: gradient under {distortion}" '
        f'loading="lazy"><figcaption>gradient under {distortion}</figcaption></figure>'
        for file in files
        for distortion in [file.removesuffix(".png").rpartition("-")[2]]
    ]
    return html(f'<div class="look">{"".join(figures)}</div>') if figures else []


def _cost(entry: Mapping[str, Any]) -> str:
    time, memory = number(entry["time_over_l1"]), number(entry["memory_over_l1"])
    return f"time {time}× that of L1, memory {memory}×"


def _label(entry: Mapping[str, Any]) -> str:
    """What a table has room for: the name, the first option, and its marks."""
    first, *options = entry["loss"].split(" ")
    words = [first, *options[:1], *(["…"] if options[1:] else [])]
    name = marked(" ".join(words), random=entry["random_weights"], note=entry["note"])
    return name.replace("_", "\\_").replace("*", "\\*")


def without(spec: LossSpec) -> str:
    """Why a loss has no picture, and what its cost is."""
    if {"adversarial", "penalty"} & set(spec.tags):
        return "Cost: that of the discriminator or generator it is given; figures for a whole step are in `benchmarks/RESULTS.md`."
    return "Cost: small beside any network's. It judges no RGB image, so it is not in [the atlas](atlas.md)."


def page(atlas: Mapping[str, Any], *, whole: bool) -> str:
    """The atlas's own page.

    Args:
        atlas: the figures.
        whole: the site holds the atlas with its photographs, at ``atlas/index.html``.
    """
    entries: Sequence[Mapping[str, Any]] = atlas["losses"]
    parts = ["# The loss atlas", ""]
    if not entries:
        return "\n".join([*parts, "No figures were measured yet.", ""])
    height, width = atlas["size"]
    parts += [
        f"What {len(entries)} losses see and what they cost, on two photographs "
        f"({', '.join(atlas['photos'])}, {width}×{height} pixels), measured on {atlas['date']}.",
        "",
        "`losskit atlas --out DIR` draws the same for whatever you have installed, your own losses too, "
        "on your photographs (`--image`), with gradient images and a contact sheet."
        + (' Here it is, <a href="../atlas/index.html">whole</a>.' if whole else ""),
        "",
        *(html(_CONTACT_SHEET) if whole else []),
        "## What each loss minds most",
        "",
        "Each distortion at the strength that leaves a PSNR of 24 dB: squared error ties them all, so what "
        "differs is the loss's own view. Values are the increase over the clean photograph's value, in units "
        "of the increase under noise of σ = 0.1; in brackets the rank, 1 for what the loss minds most.",
        "",
        "```{table}",
        ":class: atlas-table",
        "",
        "| loss | " + " | ".join(d.name for d in DISTORTIONS) + " |",
        "|---" * (1 + len(DISTORTIONS)) + "|",
    ]
    for entry in entries:
        cells = [
            "–" if value is None else f"{value:.2g}\N{NO-BREAK SPACE}({entry['ranks'][name]})"
            for name, value in entry["at_equal_psnr"].items()
        ]
        parts.append("| " + " | ".join([_label(entry), *cells]) + " |")
    rows = [
        (
            marked(entry["loss"], random=entry["random_weights"], note=entry["note"]),
            Cost(entry["milliseconds"], entry["time_over_l1"], entry["memory_over_l1"]),
        )
        for entry in entries
    ]
    parts += [
        "```",
        "",
        "\\* with random weights: the true ones could not be had where this was measured. The cost is right; the "
        "ranking is that of an untrained network. † drawn with options other than the defaults, which the loss's "
        "entry in the catalogue names.",
        "",
        "## What they cost",
        "",
        "One forward and backward pass on one photograph, a new target each time, on one processor thread, "
        "beside `L1Loss` measured in turn. Memory is what autograd keeps for the backward pass, weights left out.",
        "",
        *html(costs_of(rows)),
    ]
    return "\n".join(parts)


def html(drawing: str) -> list[str]:
    """A drawing inside the page, so that it takes the page's colours."""
    return ["```{raw} html", '<div class="atlas">', drawing.strip(), "</div>", "```", ""]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
