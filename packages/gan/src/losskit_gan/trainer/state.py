"""What a checkpoint holds: everything the next step depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from losskit.spec import one_line
from losskit_gan.trainer import checkpoints
from losskit_gan.trainer.config import as_mapping
from losskit_gan.trainer.engine import raw

if TYPE_CHECKING:
    from losskit_gan.trainer.loop import Trainer

FORMAT = 1
#: What may differ when a run goes on: how long, where, and what is written on the way.
_FREE = frozenset({"steps", "logging", "fabric", "out", "allow_import", "deterministic"})


def _check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> None:
    """Raise CheckpointError where a value differs that the next step depends on."""
    for key in [*saved, *(key for key in now if key not in saved)]:
        where = f"{path}.{key}" if path else str(key)
        if where in _FREE or where in ("data.workers", "data.cache"):
            continue
        before, after = saved.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            _check_same_run(before, after, where)
        elif _plain(before) != _plain(after):
            raise checkpoints.CheckpointError(
                f"the checkpoint is not of this config: it was written with {where}={before!r}, not "
                f"{after!r}; set it back, or start a run of its own with model.warm_start"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def gather(trainer: Trainer) -> dict[str, Any]:
    """A trainer's state as plain data; every rank must call it.

    The order of the images is no part of it: it follows from the seed and the step.
    """
    own = checkpoints.random_state()
    randoms = [own]
    if trainer.fabric.world_size > 1:
        randoms = [{}] * trainer.fabric.world_size
        torch.distributed.all_gather_object(randoms, own)
    return {
        "format": FORMAT,
        "step": trainer.step,
        "config": as_mapping(trainer.config),
        "networks": {
            player: raw(getattr(trainer.model, player)).state_dict()
            for player in trainer.optimizers
        },
        "ema": None if trainer.ema is None else trainer.ema.module.state_dict(),
        "optimizers": {p: o.state_dict() for p, o in trainer.optimizers.items()},
        "objective": trainer.model.objective.state_dict(),
        "iteration": trainer.model.iteration,
        "precision": trainer.fabric.strategy.precision.state_dict(),
        "recorder": trainer.recorder.state_dict(),
        "skipped": trainer.skipped,
        "random": randoms,
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Bring a trainer to a gathered state.

    Raises:
        CheckpointError: it is of another format, config or number of processes.
    """
    if state.get("format") != FORMAT:
        raise checkpoints.CheckpointError(
            f"the checkpoint has format {state.get('format')!r}; this version reads {FORMAT}"
        )
    world_size = trainer.fabric.world_size
    if len(state["random"]) != world_size:
        raise checkpoints.CheckpointError(
            f"the checkpoint was written by {len(state['random'])} processes; resuming exactly "
            f"needs as many, not {world_size} (or start anew with model.warm_start)"
        )
    _check_same_run(state["config"], as_mapping(trainer.config))
    try:
        for player, optimizer in trainer.optimizers.items():
            raw(getattr(trainer.model, player)).load_state_dict(state["networks"][player])
            optimizer.load_state_dict(state["optimizers"][player])
        if trainer.ema is not None:
            trainer.ema.module.load_state_dict(state["ema"])
        trainer.model.objective.load_state_dict(state["objective"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise checkpoints.CheckpointError(
            f"the checkpoint is not of this config: {one_line(error):.200}"
        ) from error
    trainer.fabric.strategy.precision.load_state_dict(state["precision"])
    trainer.recorder.load_state_dict(state["recorder"], trainer.fabric.device)
    trainer.step = state["step"]
    trainer.model.iteration = state["iteration"]
    trainer.skipped = state["skipped"]
    checkpoints.set_random_state(state["random"][trainer.fabric.global_rank])
