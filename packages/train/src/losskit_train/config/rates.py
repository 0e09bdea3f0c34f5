"""The learning rates of both players at any step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch

from losskit.errors import ConfigError, nearest
from losskit.text import one_line
from losskit_train.config.sections import OptimizerConfig

#: torch's schedulers whose rate follows from the step alone and whose arguments are plain values.
SCHEDULERS = (
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "StepLR",
)
#: Their arguments that are not a config's to give.
_OURS = ("optimizer", "last_epoch", "verbose")


class LearningRates:
    """Learning rate of each player at a step.

    Args:
        config: the optimisers' section.
        base: each player's learning rate before the schedule.
        steps: training steps in all, after which ``cosine`` and ``linear`` have come to zero.

    Raises:
        ConfigError: torch has no such scheduler, or refuses its values.
    """

    def __init__(self, config: OptimizerConfig, base: Mapping[str, float], steps: int) -> None:
        self._config = config
        self._base = dict(base)
        self._steps = steps
        self._begin()

    def at(self, step: int) -> dict[str, float]:
        """The learning rate of each player for the update after ``step`` others."""
        warmup = self._config.warmup
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if isinstance(self._config.schedule, str):
            factor = rising * self._factor(step)
            return {player: rate * factor for player, rate in self._base.items()}
        if step < self._done:
            self._begin()
        while self._done < step:
            self._scheduler.step()
            self._done += 1
        rates = self._scheduler.get_last_lr()
        return {player: rate * rising for player, rate in zip(self._base, rates, strict=True)}

    def _factor(self, step: int) -> float:
        warmup, schedule = self._config.warmup, self._config.schedule
        progress = min(1.0, max(0, step - warmup) / max(1, self._steps - warmup))
        if schedule == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        return 1 - progress if schedule == "linear" else 1.0

    def _begin(self) -> None:
        self._done = 0
        if isinstance(self._config.schedule, Mapping):
            self._scheduler = _scheduler(self._config.schedule, list(self._base.values()))


def _scheduler(config: Mapping[str, Any], base: list[float]) -> Any:
    """One of torch's over an optimiser of its own, so that going on needs no state but the step."""
    where = "optimizer.schedule"
    arguments = dict(config)
    kind = arguments.pop("type", None)
    if kind not in SCHEDULERS:
        raise ConfigError(
            f"{where}.type must be one of {', '.join(SCHEDULERS)}, not {kind!r}"
            + nearest(str(kind), SCHEDULERS)
        )
    cls = getattr(torch.optim.lr_scheduler, kind)
    known = [name for name in inspect.signature(cls).parameters if name not in _OURS]
    for name in arguments:
        if name not in known:
            raise ConfigError(
                f"{where}: {kind} has no argument {name!r}{nearest(str(name), known)}; "
                f"it takes {', '.join(known)}"
            )
    try:
        _made(cls, base, arguments).step()  # values that no step can use are told now
        return _made(cls, base, arguments)
    except Exception as error:
        raise ConfigError(f"{where}: {kind}: {one_line(error)}") from error


def _made(cls: Any, base: list[float], arguments: Mapping[str, Any]) -> Any:
    optimizer = torch.optim.SGD([{"params": [torch.zeros(())], "lr": rate} for rate in base])
    scheduler = cls(optimizer, **arguments)
    optimizer.step()  # torch warns of a scheduler that goes on before its optimiser
    return scheduler
