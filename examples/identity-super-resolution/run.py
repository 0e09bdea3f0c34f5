"""Super-resolve the astronaut's face fourfold without losing who she is, under objective.yaml.

python examples/identity-super-resolution/run.py --steps 200 --out /tmp/face
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import losskit
from losskit.images.pixels import read_image, write_image
from losskit.objectives.config import read_config

HERE = Path(__file__).parent
SCALE = 4


class SmallSR(nn.Module):
    """Bicubic enlargement plus a learned correction (sub-pixel convolution)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, padding=2),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.PReLU(),
            nn.Conv2d(width, 3 * SCALE**2, 3, padding=1),
            nn.PixelShuffle(SCALE),
        )
        nn.init.zeros_(self.body[4].weight)  # begin as bicubic
        nn.init.zeros_(self.body[4].bias)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        large = F.interpolate(small, scale_factor=SCALE, mode="bicubic", align_corners=False)
        return large + self.body(small)


def astronaut_face() -> torch.Tensor:
    """The face of scikit-image's astronaut, ``(1, 3, 192, 192)`` in [0, 1]."""
    import skimage

    picture = read_image(Path(skimage.__file__).parent / "data" / "astronaut.png")
    return picture[:, :, 20:212, 128:320].contiguous()


def psnr(pred: torch.Tensor, target: torch.Tensor) -> float:
    return float(-10 * (pred.detach().clamp(0, 1) - target).square().mean().log10())


def load_objective(weights: str) -> tuple[losskit.Objective, str]:
    """The objective of the YAML; with a random face network where the true one cannot be had."""
    config = read_config(HERE / "objective.yaml")
    for term in config["terms"]:
        if "weights" in term:
            term["weights"] = weights
            if weights == "random":  # an untrained FaceNet finds all faces alike to six digits
                term["facenet"] = "ArcFace"
    try:
        return losskit.load_objective(config), weights
    except losskit.LosskitError as error:
        if weights == "random":
            raise
        print(f"FaceNet's weights {weights!r} cannot be had: {error}")
        return load_objective("random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("runs/identity-super-resolution"))
    parser.add_argument("--weights", default="vggface2", help="casia-webface, a path, or random")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    arguments.out.mkdir(parents=True, exist_ok=True)

    objective, weights = load_objective(arguments.weights)
    objective = objective.to(arguments.device)
    if weights == "random":
        print(
            "the face network is an untrained ArcFace, its weights are RANDOM: identity_... and "
            "loss_id say nothing about the person."
        )
    original = astronaut_face().to(arguments.device)
    small = F.avg_pool2d(original, SCALE)
    model = SmallSR().to(arguments.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    first = psnr(model(small), original)
    history = []
    for step in range(arguments.steps):
        out = objective(restored=model(small), original=original)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()
        history.append({name: float(value) for name, value in out.logs.items()})
        if step % 20 == 0 or step == arguments.steps - 1:
            print(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in history[-1].items()))
    restored = model(small)
    last = psnr(restored, original)
    print(f"PSNR: bicubic {first:.2f} dB, restored {last:.2f} dB (on the picture it was fitted to)")
    for name, image in (("original", original), ("small", small), ("restored", restored)):
        write_image(image[0].detach().cpu(), arguments.out / f"{name}.png")
    report = {"weights": weights, "psnr": [first, last], "steps": history}
    (arguments.out / "history.json").write_text(json.dumps(report))
    print(f"wrote original.png, small.png, restored.png and history.json to {arguments.out}")


if __name__ == "__main__":
    main()
