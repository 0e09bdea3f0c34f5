"""The PNGs of the atlas: spoilt photographs, gradients, the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from losskit.images.pixels import as_picture, write_image
from losskit_lab.atlas.distortions import DISTORTIONS
from losskit_lab.atlas.measure import Photo

_BLUE = (0.0, 0.447, 0.698)  # Okabe and Ito's
_ORANGE = (0.902, 0.624, 0.0)
_GREY = (0.55, 0.55, 0.55)  # stands out on white and on black alike


def signed_colours(values: Tensor) -> Tensor:
    """Descent directions as colours: grey nothing, orange brighter, blue darker.

    Args:
        values: ``(3, h, w)``; the channels are averaged, and the 99th percentile of the absolute
            values has the full colour.

    Returns:
        ``(3, h, w)`` in [0, 1].
    """
    grey = values.mean(0)
    scale = torch.quantile(grey.abs().flatten(), 0.99).clamp_min(1e-30)
    level = (grey / scale).clamp(-1, 1)
    colours = [torch.tensor(c).view(3, 1, 1) for c in (_GREY, _ORANGE, _BLUE)]
    paper = torch.full((3, 1, 1), 0.93)
    up, down = level.clamp_min(0), (-level).clamp_min(0)
    return paper * (1 - up - down) + colours[1] * up + colours[2] * down


def write_steps(photo: Photo, folder: Path) -> dict[str, list[str]]:
    """A photograph's spoilt versions as ``folder/NAME-STEP.png``; file names by distortion."""
    names: dict[str, list[str]] = {}
    for distortion, images in photo.steps.items():
        names[distortion] = []
        for step, image in enumerate(images):
            name = f"{distortion}-{step}.png"
            write_image(image, folder / name)
            names[distortion].append(name)
    return names


def _plain(unit: str) -> str:
    """A unit in letters that Pillow's own font has."""
    return unit.replace("σ", "sigma").replace("\N{MINUS SIGN}", "-")


def write_contact_sheet(photos: Sequence[Photo], path: Path) -> None:
    """All distortions at all strengths, of every photograph, on one sheet with captions."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = photos[0].clean.shape[2:]
    left, head, caption, gap = 116, 30, 18, 6
    column = max(width, 36) + gap  # room for the longest strength under a small photograph
    block = max(len(d.levels) for d in DISTORTIONS) * column + 3 * gap
    row = max(height, 20) + caption + gap
    size = (left + len(photos) * block, head + len(DISTORTIONS) * row)
    sheet: Any = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((6, 7), "strength below", "#444444", small)
    for place, photo in enumerate(photos):
        draw.text((left + place * block, 5), _fitting(photo.name, large, block), "black", large)
    for index, distortion in enumerate(DISTORTIONS):
        top = head + index * row
        middle = top + max(height / 2, 18)
        draw.text((6, middle - 18), distortion.name, "black", large)
        draw.text((6, middle + 2), _plain(distortion.unit), "#444444", small)
        for place, photo in enumerate(photos):
            for step, image in enumerate(photo.steps[distortion.name]):
                x = left + place * block + step * column
                sheet.paste(as_picture(image), (x, top))
                draw.text((x + 2, top + height + 1), f"{distortion.levels[step]:g}", "black", small)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _fitting(words: str, font: Any, width: int) -> str:
    """As much of the words as there is room for, in letters that the font has."""
    words = "".join(letter if letter.isascii() else "?" for letter in words)
    while words and font.getlength(words) > width - 12:
        words = words[:-1]
    return words
