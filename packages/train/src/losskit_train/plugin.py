"""Plugin hooks: the commands that this package supplies. Imports no torch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import CommandSpec

api = 1


@hookimpl
def losskit_commands() -> list[CommandSpec]:
    """Training, and what is done with a run."""
    return [
        CommandSpec(
            "train",
            "losskit_train.cli:configure_train",
            "train a generator from a config",
            example="config.yaml optimizer.lr=1e-4",
        ),
        CommandSpec(
            "sample",
            "losskit_train.cli:configure_sample",
            "images from a trained generator",
            example="runs/faces --count 36 --grid",
        ),
        CommandSpec(
            "curves",
            "losskit_train.cli:configure_curves",
            "draw a run's losses as an SVG",
            example="runs/faces",
        ),
        CommandSpec(
            "export",
            "losskit_train.cli:configure_export",
            "write a run's generator as safetensors, torch, ONNX or a graph",
            example="runs/faces --kind safetensors",
        ),
        CommandSpec(
            "demo",
            "losskit_train.cli:configure_demo",
            "train on real photos and compare objectives",
            example="--minutes 1",
        ),
    ]
