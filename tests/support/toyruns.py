"""A training run so small that it takes a second, and images for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

GENERATOR = {"type": "DCGANGenerator", "image_size": 8, "latent_dim": 4, "channels": 4}
CONFIG: dict[str, Any] = {
    "out": "run",
    "steps": 2,
    "model": {
        "generator": GENERATOR,
        "discriminator": {"type": "ResidualDiscriminator", "image_size": 8, "channels": 4},
    },
    "gan_loss": {"type": "GANLoss", "gan_type": "hinge"},
    "data": {"images": "images", "size": 8, "batch_size": 2},
    "logging": {"tensorboard": False, "every": 1, "checkpoint_every": 0, "samples_every": 0},
    "fabric": {"accelerator": "cpu"},
}


def write_images(folder: Path, count: int, height: int, width: int) -> None:
    """Make ``folder`` with images of noise, ``0.png`` and on."""
    folder.mkdir()
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


def write_run(config: dict[str, Any]) -> None:
    """``c.yaml`` and the images it names, in the working folder."""
    Path("c.yaml").write_text(yaml.safe_dump(config))
    write_images(Path("images"), 3, 9, 9)
