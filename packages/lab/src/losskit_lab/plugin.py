"""Plugin hooks: the commands that this package supplies. Imports no torch."""

from __future__ import annotations

from losskit.hookspecs import hookimpl
from losskit.spec import CommandSpec

api = 1


@hookimpl
def losskit_commands() -> list[CommandSpec]:
    """Looking at losses and objectives, and other libraries' configs."""
    return [
        CommandSpec(
            "eval",
            "losskit_lab.evaluate.command:configure",
            "losses between images or folders of images",
            example="restored/ sharp/ --loss PSNRLoss --loss SSIMLoss",
        ),
        CommandSpec(
            "optimize",
            "losskit_lab.optimize.command:configure",
            "descend on an image under an objective",
            example="objective.yaml --target photo.png --out descent",
        ),
        CommandSpec(
            "balance",
            "losskit_lab.balance.command:configure",
            "which term of an objective dominates",
            example="objective.yaml --pred restored/ --target sharp/",
        ),
        CommandSpec(
            "atlas",
            "losskit_lab.atlas.command:configure",
            "draw what each loss sees and costs",
            example="--loss L1Loss --loss SSIMLoss --out atlas",
        ),
        CommandSpec(
            "migrate",
            "losskit_lab.migrate.command:configure",
            "turn another library's config into losskit's",
            example="esrgan.py --out esrgan.yaml",
        ),
    ]
