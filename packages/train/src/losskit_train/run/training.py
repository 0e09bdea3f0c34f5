"""Parts of a run, which its steps, its checkpoints and its setup share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_train.config.training import TrainConfig
from losskit_train.data.sources import Source
from losskit_train.output.recorder import Recorder
from losskit_train.run.ema import ExponentialMovingAverage
from losskit_train.run.engine import FabricEngine


class Training:
    """The state of one run.

    Attributes:
        config: the checked config.
        out: the folder it writes to.
        best: where the best checkpoint lies.
        model: both networks and their losses.
        source: the images.
        optimizers: by player.
        ema: the averaged generator, if there is one.
        recorder: of the values.
        fabric: of the processes and devices; from the launch on.
        engine: steps through it; from the launch on.
        step: how many steps were made.
        skipped: numbers of images that could not be read.
    """

    config: TrainConfig
    out: Path
    best: Path
    model: GANWithCustomizedLoss
    source: Source
    optimizers: dict[str, Any]
    ema: ExponentialMovingAverage | None
    recorder: Recorder
    fabric: Any
    engine: FabricEngine
    step: int
    skipped: set[int]
