"""The demo's comparison sheet and its loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from losskit_train.demo.evaluate import Column, radial_power
from losskit_train.output.files import write_atomically
from losskit_train.output.recorder import read_metrics

if TYPE_CHECKING:
    from PIL import Image

_WIDTH, _GAP, _TEXT = 320, 12, 64
_RED = (220, 30, 30)


def comparison(
    columns: Sequence[Column], crops: Sequence[tuple[int, int, int]], path: Path
) -> None:
    """Draw each column's photo, enlarged parts of it, and its name and figures.

    Args:
        columns: pictures of one size, but for the first, which may be smaller.
        crops: top, left and side of the enlarged squares, in the last picture's pixels.
        path: the PNG.
    """
    import io

    from PIL import Image, ImageDraw, ImageFont

    truth = columns[-1].image
    height = round(_WIDTH * truth.shape[-2] / truth.shape[-1])
    sheet = Image.new(
        "RGB",
        (
            len(columns) * (_WIDTH + _GAP) + _GAP,
            height + len(crops) * (_WIDTH + _GAP) + 2 * _GAP + _TEXT,
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    bold, plain = ImageFont.load_default(size=22), ImageFont.load_default(size=18)
    for index, column in enumerate(columns):
        left = _GAP + index * (_WIDTH + _GAP)
        draw.text((left, _GAP), column.label, fill="black", font=bold)
        figures = "" if column.psnr is None else f"{column.psnr:.2f} dB   SSIM {column.ssim:.3f}"
        draw.text((left, _GAP + 28), figures, fill=(90, 90, 90), font=plain)
        whole = _as_image(column.image)
        top = _GAP + _TEXT
        sheet.paste(whole.resize((_WIDTH, height), Image.Resampling.LANCZOS), (left, top))
        scale = _WIDTH / truth.shape[-1]
        for y, x, side in crops:
            box = [
                left + x * scale,
                top + y * scale,
                left + (x + side) * scale,
                top + (y + side) * scale,
            ]
            draw.rectangle(box, outline=_RED, width=2)
        top += height + _GAP
        for y, x, side in crops:
            ratio = column.image.shape[-1] / truth.shape[-1]
            box = [round(v * ratio) for v in (x, y, x + side, y + side)]
            part = whole.crop((box[0], box[1], box[2], box[3]))
            sheet.paste(part.resize((_WIDTH, _WIDTH), Image.Resampling.NEAREST), (left, top))
            top += _WIDTH + _GAP
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def curves(runs: dict[str, Path], path: Path) -> None:
    """Plot every logged value of some runs.

    Args:
        runs: folders with a ``metrics.csv``, by title.
        path: the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(runs), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (title, folder) in enumerate(runs.items()):
        axes = figure.add_subplot(1, len(runs), index + 1)
        rows = read_metrics(folder / "metrics.csv")
        names = sorted({name for row in rows for name in row} - {"step"})
        for name in (name for name in names if not name.startswith("total")):
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), label=name.removeprefix("loss_"))
        axes.set(title=title, xlabel="step", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def spectrum(columns: Sequence[Column], path: Path) -> None:
    """Plot how much of the truth's detail each attempt has, by fineness: sharpness as a number.

    Args:
        columns: the last is the truth; those without figures are left out.
        path: the picture; its suffix chooses the format.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    truth = radial_power(columns[-1].image)
    fineness = (np.arange(len(truth)) + 0.5) / len(truth)
    # Shapes that a reader of any colour vision tells apart (Okabe and Ito's colours).
    styles = (("#999999", ":"), ("#0072b2", "-"), ("#d55e00", "-"), ("#009e73", "--"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "losskit"}):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        attempts = [column for column in columns if column.psnr is not None]
        for column, (colour, line) in zip(attempts, styles, strict=False):
            share = 100 * radial_power(column.image) / truth
            axes.plot(fineness, share, line, color=colour, linewidth=2, label=column.label)
        axes.axhline(100, color="black", linewidth=1)
        axes.axvline(0.5, color="black", linewidth=1, linestyle=(0, (1, 3)))
        axes.text(0.51, 132, "finer than the input's pixels", fontsize=9)
        axes.set(
            xlabel="spatial frequency (1 = the finest the picture can hold)",
            ylabel="power, % of the truth's",
            xlim=(0, 1),
            ylim=(0, 140),
        )
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9, loc="lower left")
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _as_image(image: Tensor) -> Image.Image:
    from PIL import Image

    pixels = image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))
