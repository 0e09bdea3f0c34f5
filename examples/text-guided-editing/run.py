"""Edit a picture by a text: descent on a low-resolution change of it, under objective.yaml.

python examples/text-guided-editing/run.py --steps 100 --out /tmp/edit
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

import losskit
from losskit.images.pixels import read_image, write_image
from losskit.objectives.config import read_config
from losskit_lab.optimize import Descent, Run

HERE = Path(__file__).parent


def astronaut() -> Path:
    """The picture that scikit-image ships."""
    import skimage

    return Path(skimage.__file__).parent / "data" / "astronaut.png"


def load_objective(weights: str) -> tuple[losskit.Objective, str]:
    """The objective of the YAML; with random CLIP weights where the true ones cannot be had."""
    config = read_config(HERE / "objective.yaml")
    for term in config["terms"]:
        if "weights" in term:
            term["weights"] = weights
    try:
        return losskit.load_objective(config), weights
    except losskit.LosskitError as error:
        if weights == "random":
            raise
        print(f"CLIP's weights {weights!r} cannot be had: {error}")
        return load_objective("random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/text-guided-editing"))
    parser.add_argument("--image", type=Path, help="a picture; by default scikit-image's astronaut")
    parser.add_argument("--weights", default="openai", help="an open_clip tag, a path, or random")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    objective, weights = load_objective(arguments.weights)
    if weights == "random":
        print(
            "CLIP's weights are RANDOM: the steps are real, but the picture will not follow the text."
        )
    square = (arguments.size, arguments.size)
    original = read_image(arguments.image or astronaut(), size=square).to(arguments.device)

    def edited(change: torch.Tensor) -> torch.Tensor:
        # A change at half the resolution cannot fool CLIP with noise as easily as single pixels can.
        grown = F.interpolate(change, original.shape[-2:], mode="bilinear", align_corners=False)
        return (original + grown).clamp(0, 1)

    start = torch.zeros_like(F.avg_pool2d(original, 2))
    outputs = {"original": original}
    descent = Descent(objective.to(arguments.device), start, outputs, network=edited, lr=0.02)
    run = Run(arguments.out, descent, {"weights": weights, "size": arguments.size})
    for step in range(arguments.steps):
        values = run.record(descent.step())
        if step % 10 == 0 or step == arguments.steps - 1:
            print(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in list(values.items())[1:]))
            run.snapshot()
    write_image(original[0].cpu(), arguments.out / "original.png")
    print(f"wrote original.png, result.png, snapshots and log.csv to {arguments.out}")


if __name__ == "__main__":
    main()
