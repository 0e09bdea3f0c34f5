"""Random free-form holes (Yu et al., DeepFill v2, ICCV 2019, arXiv:1806.03589)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor


def free_form_mask(
    height: int,
    width: int,
    *,
    share: tuple[float, float] = (0.1, 0.4),
    random: np.random.Generator,
) -> Float[Tensor, "1 h w"]:
    """Brush strokes until a share of the image, drawn from ``share``, is covered.

    Differs from the paper, which draws a number of strokes and lets the covered share fall out.

    Args:
        height: rows.
        width: columns.
        share: smallest and largest covered share, between 0 and 1.
        random: where the randomness comes from.

    Returns:
        1 in the hole, 0 elsewhere; float32.

    Raises:
        ValueError: the shares are not between 0 and 1, or do not rise.
    """
    if not 0 < share[0] <= share[1] < 1:
        raise ValueError(f"share must be two numbers between 0 and 1, rising, not {share!r}")
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    aim = random.uniform(*share)
    side = min(height, width)
    covered = 0.0
    while covered < aim:
        brush = max(1, round(side * random.uniform(0.04, 0.12)))
        x, y = random.uniform(0, width), random.uniform(0, height)
        angle = random.uniform(0, 2 * np.pi)
        for _ in range(int(random.integers(2, 6))):
            length = side * random.uniform(0.05, 0.25)
            angle += random.uniform(-1.0, 1.0)
            end = (x + length * np.cos(angle), y + length * np.sin(angle))
            draw.line([(x, y), end], fill=1, width=brush)
            draw.ellipse(
                [end[0] - brush / 2, end[1] - brush / 2, end[0] + brush / 2, end[1] + brush / 2],
                fill=1,
            )
            x, y = end
            covered = float(np.asarray(canvas).mean())
            if covered >= aim:
                break
    return torch.from_numpy(np.array(canvas, dtype=np.float32))[None]
