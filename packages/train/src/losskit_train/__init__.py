"""Train generators from a config on Lightning Fabric; use what was trained.

``config`` what a run may be, ``data`` its images, ``networks`` some to begin with, ``run`` the loop and what it goes on
from, ``output`` what is written on the way, ``results`` a trained generator in use, ``demo`` all of it on photographs.
Nothing is imported until it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "TrainConfig": "losskit_train.config.training",
    "Trainer": "losskit_train.run.loop",
    "load_generator": "losskit_train.results.export",
    "load_train_config": "losskit_train.config.training",
    "train": "losskit_train.run.loop",
}
__all__ = ["TrainConfig", "Trainer", "load_generator", "load_train_config", "train"]

if TYPE_CHECKING:
    from losskit_train.config.training import TrainConfig, load_train_config
    from losskit_train.results.export import load_generator
    from losskit_train.run.loop import Trainer, train

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
