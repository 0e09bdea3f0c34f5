"""Edit a picture by a text: descent on a low-resolution change of it, under objective.yaml.

python examples/text-guided-editing/run.py --steps 100 --out /tmp/edit
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import losskit
from losskit.config import read_config

HERE = Path(__file__).parent


def load_image(path: Path | None, size: int) -> torch.Tensor:
    """A square picture in [0, 1], ``(1, 3, size, size)``; scikit-image's astronaut by default."""
    if path is None:
        from skimage import data

        picture = Image.fromarray(data.astronaut())
    else:
        picture = Image.open(path).convert("RGB")
    side = min(picture.size)
    pixels = np.asarray(picture.crop((0, 0, side, side)).resize((size, size)))
    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255


def save_image(image: torch.Tensor, path: Path) -> None:
    pixels = (image[0].detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    Image.fromarray(pixels.cpu().numpy()).save(path)


def load_objective(weights: str) -> tuple[losskit.Objective, str]:
    """The objective of the YAML; with random CLIP weights where the true ones cannot be had."""
    config = read_config(HERE / "objective.yaml")
    try:
        return losskit.load_objective(_with_weights(config, weights)), weights
    except losskit.LosskitError as error:
        if weights == "random":
            raise
        print(f"CLIP's weights {weights!r} cannot be had: {error}")
        return losskit.load_objective(_with_weights(config, "random")), "random"


def _with_weights(config: dict, weights: str) -> dict:
    terms = [
        {**term, **({"weights": weights} if "weights" in term else {})} for term in config["terms"]
    ]
    return {**config, "terms": terms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/text-guided-editing"))
    parser.add_argument("--image", type=Path, help="a picture; by default scikit-image's astronaut")
    parser.add_argument("--weights", default="openai", help="an open_clip tag, a path, or random")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arguments.out.mkdir(parents=True, exist_ok=True)

    objective, weights = load_objective(arguments.weights)
    objective = objective.to(arguments.device)
    if weights == "random":
        print(
            "CLIP's weights are RANDOM: the steps are real, but the picture will not follow the text."
        )
    original = load_image(arguments.image, arguments.size).to(arguments.device)
    # A change at half the resolution cannot fool CLIP with noise as easily as single pixels can.
    change = torch.zeros_like(F.avg_pool2d(original, 2)).requires_grad_()
    optimizer = torch.optim.Adam([change], lr=0.02)
    history = []
    for step in range(arguments.steps):
        grown = F.interpolate(change, original.shape[-2:], mode="bilinear", align_corners=False)
        edited = (original + grown).clamp(0, 1)
        out = objective(edited=edited, original=original)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        history.append({name: float(value) for name, value in out.logs.items()})
        if step % 10 == 0 or step == arguments.steps - 1:
            print(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in history[-1].items()))
    save_image(original, arguments.out / "original.png")
    save_image(edited, arguments.out / "edited.png")
    (arguments.out / "history.json").write_text(json.dumps({"weights": weights, "steps": history}))
    print(f"wrote original.png, edited.png and history.json to {arguments.out}")


if __name__ == "__main__":
    main()
