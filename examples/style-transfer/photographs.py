"""Write the two photographs of the README, from scikit-image's wheel: a cat and a stained tissue."""

from __future__ import annotations

import argparse
from pathlib import Path

import skimage
from PIL import Image, ImageOps


def write(folder: Path, size: int = 256) -> None:
    data = Path(skimage.__file__).parent / "data"
    for name, source in (("cat.png", "chelsea.png"), ("tissue.png", "ihc.png")):
        with Image.open(data / source) as photo:
            ImageOps.fit(photo.convert("RGB"), (size, size)).save(folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    write(arguments.out, arguments.size)
