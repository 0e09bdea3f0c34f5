"""A Lightning Fabric as the config's ``fabric`` section says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from losskit.errors import ConfigError, LosskitError
from losskit.text import one_line
from losskit_train.config.sections import FabricConfig
from losskit_train.config.training import TrainConfig
from losskit_train.run.sharding import shard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from losskit_gan.model.customized import GANWithCustomizedLoss


def make_fabric(config: TrainConfig) -> Fabric:
    """A Fabric, not yet launched.

    Raises:
        LosskitError: Lightning Fabric is not installed.
        ConfigError: it refuses the values, for instance for want of such a device.
    """
    try:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            from lightning.fabric import Fabric  # type: ignore[assignment] # the same class
    except ImportError as error:
        raise LosskitError(
            "training needs Lightning Fabric: pip install 'losskit-train'"
        ) from error
    section = config.fabric
    try:
        precision = _precision(section)
        fabric = Fabric(
            accelerator=section.accelerator,
            devices=section.devices,
            num_nodes=section.num_nodes,
            strategy=_strategy(section),
            precision=precision if isinstance(precision, str) else None,  # type: ignore[arg-type] # Fabric checks it
            plugins=None if isinstance(precision, str) else precision,
        )
    except (ValueError, RuntimeError, TypeError, ImportError) as error:
        raise ConfigError(f"fabric: {one_line(error)}") from error
    _check_launcher(section, fabric)
    return fabric


def _check_launcher(section: FabricConfig, fabric: Any) -> None:
    """Raise ConfigError where a run would wait forever for machines that nobody starts."""
    environment = getattr(fabric.strategy, "cluster_environment", None)
    alone = type(environment).__name__ == "LightningEnvironment"  # no launcher was found
    if section.num_nodes > 1 and alone and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            f"fabric.num_nodes is {section.num_nodes}, but no launcher started this: use torchrun or "
            "srun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each machine"
        )


def check_model(config: TrainConfig, model: GANWithCustomizedLoss) -> None:
    """Find what a strategy cannot do with these networks and losses, before processes are started.

    Raises:
        ConfigError: it cannot.
    """
    strategy = config.fabric.strategy
    if strategy == "fsdp":
        for name, parameter in model.named_parameters():
            if parameter.ndim == 0:
                raise ConfigError(
                    f"fabric.strategy 'fsdp' cannot spread {name}, which has no dimension: make it "
                    "torch.ones(1), or take ddp"
                )
    # Schedules are read off here and there, for long runs have many steps.
    moments = range(0, config.steps, max(1, config.steps // 1000))
    if strategy == "ddp_find_unused_parameters_true" and any(
        model.objective.needs("generator", "latents", step) for step in moments
    ):
        raise ConfigError(
            f"fabric.strategy {strategy!r} gives losses copies of what a generator returns, so the "
            "images do not depend on the 'latents' that a loss reads: take ddp, or a path length of "
            "generator and num_batches"
        )


@contextlib.contextmanager
def lost_processes_named() -> Iterator[None]:
    """Say in one line that another process ended: it has said why itself."""
    try:
        yield
    except RuntimeError as error:
        kind = getattr(torch.distributed, "DistError", ())  # not in every build of torch
        backend = isinstance(error, kind) or "gloo" in str(error)
        if isinstance(error, LosskitError) or not backend:
            raise
        raise LosskitError(
            "another process of this run ended or cannot be reached; its own message says why "
            f"({one_line(error):.120})"
        ) from error


def _strategy(section: FabricConfig) -> Any:
    if section.strategy == "fsdp":
        from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

        # Fabric's "fsdp" is torch's first kind, which has no second backward pass and no CPU.
        return ModelParallelStrategy(shard)
    if section.strategy != "auto" or _several(section):
        import inspect

        from lightning_fabric.strategies.ddp import DDPStrategy

        # torch 2.15 calls it by another name.
        known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
        name = "forward_sync_buffers"
        options: dict[str, Any] = {name if name in known else "broadcast_buffers": False}
        # A discriminator runs twice before one backward; copying buffers between ranks in between
        # would change, in place, what the first run keeps for its backward.
        unused = section.strategy == "ddp_find_unused_parameters_true"
        return DDPStrategy(find_unused_parameters=unused, **options)
    return "auto"


def _several(section: FabricConfig) -> bool:
    """Return whether there may be more than one process."""
    devices = section.devices
    if isinstance(devices, list):
        return len(devices) > 1
    return section.num_nodes > 1 or devices in ("auto", -1) or int(devices) > 1


def _precision(section: FabricConfig) -> Any:
    on_cpu = section.accelerator == "cpu" or (
        section.accelerator == "auto"
        and not (torch.cuda.is_available() or torch.backends.mps.is_available())
    )
    if section.precision == "16-mixed" and on_cpu:
        from lightning_fabric.plugins.precision.amp import MixedPrecision

        # Fabric would take bf16 instead; torch has had both the autocast and the scaler since 2.3.
        return MixedPrecision("16-mixed", "cpu")
    return section.precision
