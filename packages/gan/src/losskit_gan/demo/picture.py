"""The demo's comparison sheet and its loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from losskit_gan.demo.evaluate import Column
from losskit_gan.trainer.checkpoints import write_atomically
from losskit_gan.trainer.recorder import read_metrics

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
            part = whole.crop(tuple(round(v * ratio) for v in (x, y, x + side, y + side)))
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


def _as_image(image: Tensor):  # type: ignore[no-untyped-def]
    from PIL import Image

    pixels = image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels))
