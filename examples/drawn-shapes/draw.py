"""Draw small pictures of shapes: data for a first run that needs no photographs.

python examples/drawn-shapes/draw.py shapes --count 400
"""

from __future__ import annotations

import argparse
import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

_FINE = 4  # drawn this many times larger, then shrunk: smooth edges


def drawing(seed: int, size: int = 64) -> Image.Image:
    """Two to four discs, boxes and triangles on a slanting gradient; the same for the same seed."""
    rng = random.Random(seed)
    side = size * _FINE
    ground = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize((side, side))
    dark, light = ([rng.randrange(low, low + 70) for _ in "rgb"] for low in (0, 90))
    channels = [
        ground.point([a + (b - a) * v // 255 for v in range(256)])
        for a, b in zip(dark, light, strict=True)
    ]
    picture = Image.merge("RGB", channels)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(2, 4)):
        x, y = rng.uniform(0.2, 0.8) * side, rng.uniform(0.2, 0.8) * side
        radius, turn = rng.uniform(0.1, 0.24) * side, rng.uniform(0, math.tau)
        colour = (rng.randrange(60, 256), rng.randrange(60, 256), rng.randrange(60, 256))
        corners = rng.choice((0, 3, 4))
        if corners == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
            continue
        angles = [turn + math.tau * index / corners for index in range(corners)]
        points = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
        draw.polygon(points, fill=colour)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the PNGs go")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(options.count):
        drawing(seed, options.size).save(options.folder / f"{seed:04d}.png")
    print(f"{options.count} drawings in {options.folder}")


if __name__ == "__main__":
    main()
