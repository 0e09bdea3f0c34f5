"""Networks, their average, optimisers and losses on the devices of a launched Fabric."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from losskit_train.run import assemble
from losskit_train.run.ema import ExponentialMovingAverage
from losskit_train.run.engine import FabricEngine, raw
from losskit_train.run.training import Training


def seed_all(seed: int, *, deterministic: bool) -> None:
    """Seed every random generator; ask torch for deterministic kernels, if so."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.use_deterministic_algorithms(True)


def set_up(trainer: Training, fabric: Any) -> FabricEngine:
    """Bring all that a step uses to where it runs, and make what steps through Fabric."""
    config, model = trainer.config, trainer.model
    if config.model.ema:
        trainer.ema = ExponentialMovingAverage(
            model.generator, decay=config.model.ema, start=config.model.ema_start
        )
    if config.model.compile:
        # In place: data-parallel wrappers, the other player's passes and losses all call the
        # compiled network then, and penalties find out that it is one.
        for player in trainer.optimizers:
            getattr(model, player).compile()
    sharded = _shard(trainer, fabric) if config.fabric.strategy == "fsdp" else []
    if not sharded:
        for player in trainer.optimizers:
            made = fabric.setup(getattr(model, player), trainer.optimizers[player])
            network, trainer.optimizers[player] = made
            setattr(model, player, network)
        if trainer.ema is not None:
            fabric.to_device(trainer.ema.module)
    fabric.to_device(model.objective)
    engine = FabricEngine(
        fabric,
        clip_norm={p: config.optimizer.of(p)["clip_norm"] for p in trainer.optimizers},
        several_parts=config.accumulate > 1,
        sharded=sharded,
    )
    # Ranks draw different noise from here on.
    seed_all(config.seed + 1 + fabric.global_rank, deterministic=config.deterministic)
    return engine


def _shard(trainer: Training, fabric: Any) -> list[nn.Module]:
    """Spread all networks over the ranks; their optimisers are made of what is left of them."""
    for player in trainer.optimizers:
        network = fabric.setup_module(getattr(trainer.model, player))
        optimizer = assemble.optimizer(trainer.config, player, network)
        trainer.optimizers[player] = fabric.setup_optimizers(optimizer)
        setattr(trainer.model, player, network)
    if trainer.ema is not None:
        fabric.setup_module(trainer.ema.module)
    networks = [raw(getattr(trainer.model, player)) for player in trainer.optimizers]
    return networks if trainer.ema is None else [*networks, trainer.ema.module]
