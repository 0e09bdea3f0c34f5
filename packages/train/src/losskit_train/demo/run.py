"""``losskit demo``: train on real photographs, compare objectives on one that was held out."""

from __future__ import annotations

import copy
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from losskit.errors import LosskitError
from losskit.objectives.config import read_config
from losskit_train.config.training import load_train_config
from losskit_train.data.photos import photo
from losskit_train.data.samples import shrink
from losskit_train.demo.evaluate import Column, feature_distance, measure, table
from losskit_train.demo.picture import comparison, curves, spectrum
from losskit_train.output import sampling
from losskit_train.output.files import write_atomically
from losskit_train.results.inference import generator_of
from losskit_train.run.interrupt import Stopped
from losskit_train.run.loop import Trainer

HELD_OUT = "astronaut.png"
#: Parts of it worth a close look: top, left, side.
CROPS = ((70, 175, 90), (335, 145, 90))
_MINUTES = 3.0
#: Trained with, and also what the last column of the table measures: read it for what it is.
_PERCEPTUAL = {
    "type": "FeatureDistance",
    "loss_name": "loss_perceptual",
    "layers": ["_blocks.0", "_blocks.2", "_blocks.4"],  # deeper ones need larger patches
    "loss_weight": 0.1,
}


def run_demo(out: Path, *, minutes: float = _MINUTES, progress: bool = True) -> str:
    """Train with L1 alone, then with the full objective, and write a folder to look at.

    It holds each run (config, ``metrics.csv``, checkpoint), ``comparison.png``, ``curves.png``,
    ``spectrum.svg`` and ``table.txt``. Started again after Ctrl-C, it goes on where it stopped.

    Args:
        out: the folder.
        minutes: about how long it may take on two cores; steps are in proportion.
        progress: show progress bars.

    Returns:
        The table, and where the folder is.

    Raises:
        LosskitError: what the demo needs is not installed, or it was stopped.
    """
    _check_installed()
    begin = time.perf_counter()
    plans = _plans(out, minutes)
    for title, plan in plans.items():
        trainer = Trainer(load_train_config(plan), progress=progress)
        if progress:
            print(f"{title}: {plan['steps']} steps", flush=True)  # noqa: T201
        try:
            trainer.run(resume=True)
        except Stopped as stop:
            raise LosskitError(
                f"stopped at step {stop.step} of {title}; run the same command to go on"
            ) from stop
    columns = _columns(plans)
    comparison(columns, CROPS, out / "comparison.png")
    curves({title: Path(plan["out"]) for title, plan in plans.items()}, out / "curves.png")
    spectrum(columns, out / "spectrum.svg")
    text = table(columns)
    write_atomically(out / "table.txt", (text + "\n").encode())
    seconds = time.perf_counter() - begin
    return f"{text}\n\n{HELD_OUT} was held out; {seconds:.0f} s. Look at {out / 'comparison.png'}"


def _check_installed() -> None:
    needed = ("skimage", "matplotlib", "rich", "torchvision")
    missing = [name for name in needed if find_spec(name) is None]
    if not any(find_spec(name) for name in ("lightning_fabric", "lightning")):
        missing.append("lightning_fabric")
    if missing:
        raise LosskitError(
            f"the demo needs {', '.join(missing)}: pip install 'losskit-train[demo]' brings all of it"
        )


def _plans(out: Path, minutes: float) -> dict[str, dict[str, Any]]:
    """The configs of the demo's runs, by the title of their column."""
    if not minutes > 0:
        raise LosskitError(f"--minutes must be positive, not {minutes!r}")
    here = Path(__file__).parent
    baseline, full = read_config(here / "l1.yaml"), read_config(here / "full.yaml")
    plans = {"L1 alone": baseline, "full objective": full}
    if feature_distance() is not None:
        perceptual = copy.deepcopy(full)
        perceptual["gen_auxiliary_loss"].append(dict(_PERCEPTUAL))
        plans["+ perceptual"] = perceptual
    for (title, plan), name in zip(plans.items(), ("l1", "full", "perceptual"), strict=False):
        plan["out"] = str(out / name)
        plan["steps"] = max(2, round(plan["steps"] * minutes / _MINUTES))
        if title != "L1 alone":
            plan["model"]["warm_start"] = str(out / "l1")
    return plans


def _columns(plans: dict[str, dict[str, Any]]) -> list[Column]:
    pixels = torch.from_numpy(photo(HELD_OUT).copy())
    truth = pixels.permute(2, 0, 1)[None].float().div(255)
    truth = truth[..., : truth.shape[-2] // 2 * 2, : truth.shape[-1] // 2 * 2]
    lq = shrink(truth, 2)
    columns = [Column("low resolution", lq), measure("bicubic", _bicubic(lq), truth)]
    for title, plan in plans.items():
        generator, _ = generator_of(Path(plan["out"]))
        columns.append(measure(title, sampling.run(generator, [lq], seed=0), truth))
    return [*columns, Column("truth", truth)]


def _bicubic(lq: Tensor) -> Tensor:
    return F.interpolate(lq, scale_factor=2, mode="bicubic", align_corners=False)
