"""Descend on MS-SSIM from a dull picture, and look at what it leaves wrong.

python examples/ms-ssim-blind-spot/run.py --out /tmp/blind-spot
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import losskit
from losskit.images.pixels import read_image, write_image
from losskit_lab.evaluate.heatmaps import colour
from losskit_lab.optimize import Descent, Run, write_animation

HERE = Path(__file__).parent


def photograph(size: int) -> Tensor:
    """scikit-image's cup of coffee, square, in [0, 1]."""
    import skimage

    return read_image(Path(skimage.__file__).parent / "data" / "coffee.png", size=(size, size))


def dull(image: Tensor) -> Tensor:
    """Half the colour, and darker."""
    grey = image.mean(1, keepdim=True)
    return (grey + 0.5 * (image - grey) - 0.15).clamp(0, 1)


def descend(objective_file: Path, target: Tensor, steps: int, out: Path) -> dict[str, float]:
    """MS-SSIM and PSNR at the end; the pictures lie in ``out``."""
    start = dull(target)
    descent = Descent(losskit.load_objective(objective_file), start, {"target": target}, lr=0.01)
    run = Run(out, descent, {"objective": objective_file.name, "steps": steps})
    for step in range(steps):
        run.record(descent.step())
        if (step + 1) % max(1, steps // 20) == 0:
            run.snapshot()
    run.snapshot()
    write_animation(run.snapshots(), out / "animation.gif")
    image = descent.image()
    error = (image - target).abs().mean((0, 1))
    write_image(colour(error / 0.3), out.parent / f"error-{out.name}.png")
    return measures(image, target)


def measures(image: Tensor, target: Tensor) -> dict[str, float]:
    """Structural similarity and PSNR of two images in [0, 1]."""
    with torch.no_grad():
        structure = 1 - float(losskit.create("MSSSIMLoss")(image, target))
        decibels = -float(losskit.create("PSNRLoss")(image, target))
    return {"ms_ssim": structure, "psnr": decibels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=192, help="at least 161, for five scales")
    parser.add_argument("--out", type=Path, default=Path("blind-spot"))
    arguments = parser.parse_args()
    target = photograph(arguments.size)
    result = {"start": measures(dull(target), target)}
    for name, file in (("structure", "objective.yaml"), ("with-l1", "with-l1.yaml")):
        result[name] = descend(HERE / file, target, arguments.steps, arguments.out / name)
    for name, values in result.items():
        print(f"{name:<10} MS-SSIM {values['ms_ssim']:.4f}  PSNR {values['psnr']:.1f} dB")
    (arguments.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
