"""Training GANs from a config; nothing is imported until it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "TrainConfig": "losskit_gan.trainer.config",
    "Trainer": "losskit_gan.trainer.loop",
    "load_train_config": "losskit_gan.trainer.config",
    "train": "losskit_gan.trainer.loop",
}
__all__ = sorted(_EXPORTS)  # noqa: PLE0605

if TYPE_CHECKING:
    from losskit_gan.trainer.config import TrainConfig, load_train_config
    from losskit_gan.trainer.loop import Trainer, train


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
