"""State in a checkpoint: everything the next step depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from losskit.errors import ConfigError
from losskit.text import one_line
from losskit_train.config.training import as_mapping
from losskit_train.run import checkpoints
from losskit_train.run.engine import raw
from losskit_train.run.sharding import load_network, load_optimizer, whole
from losskit_train.run.training import Training

FORMAT = 3
#: What may differ when a run goes on: how long, where, what is written on the way, how it began.
_FREE = frozenset(
    {
        *("steps", "logging", "validate", "fabric", "out", "allow_import", "deterministic"),
        *("sources", "data.workers", "data.cache", "model.warm_start"),
    }
)


def _check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> None:
    """Raise CheckpointError where a value differs that the next step depends on."""
    for key in [*saved, *(key for key in now if key not in saved)]:
        where = f"{path}.{key}" if path else str(key)
        if where in _FREE:
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


def gather(trainer: Training) -> dict[str, Any]:
    """A trainer's state as plain data; every rank must call it.

    The order of the images is no part of it: it follows from the seed and the step. What is spread
    over ranks is put together, so that any number of processes can read it.
    """
    return {
        "format": FORMAT,
        "step": trainer.step,
        "config": as_mapping(trainer.config),
        "networks": {
            player: whole(raw(getattr(trainer.model, player)).state_dict())
            for player in trainer.optimizers
        },
        "ema": None if trainer.ema is None else whole(trainer.ema.module.state_dict()),
        "optimizers": {p: whole(o.state_dict()) for p, o in trainer.optimizers.items()},
        "iteration": trainer.model.iteration,
        "images": _images(trainer),
        "precision": trainer.fabric.strategy.precision.state_dict(),
        "skipped_updates": trainer.engine.skipped_updates,
        "ranks": _from_all_ranks(trainer, _own(trainer)),
    }


def _images(trainer: Training) -> dict[str, Any]:
    """Of what images the order was drawn: it follows from the seed and how many there are."""
    names = trainer.source.names
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return {"count": len(names), "names": digest}


def _check_same_images(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if saved != now:
        how = (
            f"{now['count']} images, not {saved['count']}"
            if saved["count"] != now["count"]
            else f"other names of its {now['count']} images"
        )
        raise checkpoints.CheckpointError(
            f"the data changed since the checkpoint was written: {how}; put them back, or start a "
            "run of its own with model.warm_start"
        )


def _own(trainer: Training) -> dict[str, Any]:
    """Collect each rank's own state: batch statistics, averages that losses keep, random numbers."""
    return {
        "objective": trainer.model.objective.state_dict(),
        "buffers": {
            name: _own_buffers(network, trainer.fabric.world_size)
            for name, network in _networks(trainer).items()
        },
        "recorder": trainer.recorder.state_dict(),
        "skipped": sorted(trainer.skipped),
        "random": checkpoints.random_state(),
    }


def _own_buffers(network: torch.nn.Module, world_size: int) -> dict[str, torch.Tensor]:
    """The buffers that the networks' whole state lacks: those not in it, or of ranks but the first."""
    named = dict(network.named_buffers())
    if world_size > 1:
        return named
    known = network.state_dict()
    return {name: buffer for name, buffer in named.items() if name not in known}


def _networks(trainer: Training) -> dict[str, torch.nn.Module]:
    networks = {player: raw(getattr(trainer.model, player)) for player in trainer.optimizers}
    return networks if trainer.ema is None else {**networks, "ema": trainer.ema.module}


def _from_all_ranks(trainer: Training, own: dict[str, Any]) -> list[dict[str, Any]]:
    if trainer.fabric.world_size == 1:
        return [own]
    together: list[Any] = [None] * trainer.fabric.world_size
    torch.distributed.all_gather_object(together, _on_cpu(own))
    return together


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    return [_on_cpu(item) for item in value] if isinstance(value, list) else value


def find(trainer: Training, *, resume: bool) -> Path | None:
    """The checkpoint of a trainer's folder to go on from, the same on every rank.

    Raises:
        CheckpointError: there are some, but none is whole.
        ConfigError: there is one, and ``resume`` is off.
    """
    return allowed(trainer.out, *trainer.fabric.broadcast(seen(trainer)), resume=resume)


def seen(trainer: Training) -> tuple[Path | None, list[Path], list[Path]]:
    """The newest whole checkpoint of a trainer's folder, all that are there, and the best ones."""
    folder = trainer.out / "checkpoints"
    return checkpoints.latest(folder), checkpoints.all_of(folder), checkpoints.all_of(trainer.best)


def allowed(
    out: Path, newest: Path | None, there: list[Path], best: list[Path], *, resume: bool
) -> Path | None:
    """The checkpoint to go on from, of those that were seen; raises as ``find`` does."""
    if newest is None and there:
        raise checkpoints.CheckpointError(
            f"not one of the {len(there)} checkpoints in {there[0].parent} is whole (the newest is "
            f"{there[0].name}): copy them again, each with its .seal.json, or take them away "
            "to begin anew"
        )
    if newest is None and best and not resume:
        raise ConfigError(
            f"{out} already holds a run's best checkpoint ({best[0].name}): "
            "give --resume, or another out="
        )
    if newest is not None and not resume:
        raise ConfigError(
            f"{out} already holds a run ({newest.name}): give --resume to go on with it, "
            "or another out="
        )
    return newest


def check_state(trainer: Training, state: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a gathered state is of another format, config or images."""
    _check_format(state)
    _check_same_run(state["config"], as_mapping(trainer.config))
    _check_same_images(state["images"], _images(trainer))


def _check_format(state: Mapping[str, Any]) -> None:
    if state.get("format") != FORMAT:
        raise checkpoints.CheckpointError(
            f"the checkpoint has format {state.get('format')!r}; this version reads {FORMAT}"
        )


def restore(trainer: Training, state: dict[str, Any]) -> None:
    """Bring a trainer to a gathered state.

    Raises:
        CheckpointError: it is of another format, config or number of processes, or of other images.
    """
    _check_format(state)
    world_size = trainer.fabric.world_size
    if len(state["ranks"]) != world_size:
        raise checkpoints.CheckpointError(
            f"the checkpoint was written by {len(state['ranks'])} processes; resuming exactly "
            f"needs as many, not {world_size} (or start anew with model.warm_start)"
        )
    check_state(trainer, state)
    own = state["ranks"][trainer.fabric.global_rank]
    try:
        for player, optimizer in trainer.optimizers.items():
            load_network(raw(getattr(trainer.model, player)), state["networks"][player])
            load_optimizer(optimizer, state["optimizers"][player])
        if trainer.ema is not None:
            load_network(trainer.ema.module, state["ema"])
        trainer.model.objective.load_state_dict(own["objective"])
        networks = _networks(trainer)
        for name, buffers in own["buffers"].items():
            there = dict(networks[name].named_buffers())
            for key, saved in buffers.items():
                there[key].copy_(saved)
        if state["precision"]:  # written without a scaler, it leaves a new one as it starts
            trainer.fabric.strategy.precision.load_state_dict(state["precision"])
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise checkpoints.CheckpointError(
            f"the checkpoint is not of this config: {one_line(error):.200}"
        ) from error
    trainer.engine.skipped_updates = state["skipped_updates"]
    trainer.recorder.load_state_dict(own["recorder"], trainer.fabric.device)
    trainer.step = state["step"]
    trainer.model.iteration = state["iteration"]
    trainer.skipped = set(own["skipped"])
    checkpoints.set_random_state(own["random"])
