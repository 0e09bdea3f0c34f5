"""Lightning Fabric around the model's step: mixed precision, ranks, clipping."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError
from losskit.spec import one_line
from losskit_gan.trainer.config import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(config: TrainConfig) -> Fabric:
    """A Fabric as the config's ``fabric`` section says.

    Raises:
        LosskitError: Lightning Fabric is not installed.
        ConfigError: it refuses the values, for instance for want of such a device.
    """
    try:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            from lightning.fabric import Fabric  # type: ignore[assignment]
    except ImportError as error:
        raise LosskitError(
            "training needs Lightning Fabric: pip install 'losskit-gan[train]'"
        ) from error
    section = config.fabric
    try:
        return Fabric(
            accelerator=section.accelerator,
            devices=section.devices,
            num_nodes=section.num_nodes,
            strategy=_strategy(section.strategy, section.devices),
            precision=section.precision,
        )
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(f"fabric: {one_line(error)}") from error


def _strategy(name: str, devices: int | str) -> Any:
    several = devices == "auto" or (isinstance(devices, int) and devices > 1)
    if name == "ddp" or (name == "auto" and several):
        from lightning_fabric.strategies.ddp import DDPStrategy

        # A discriminator runs twice before one backward; copying buffers between ranks in between
        # would change, in place, what the first run keeps for its backward.
        return DDPStrategy(broadcast_buffers=False)
    return name


class FabricEngine:
    """What surrounds a step; see [`Engine`][losskit_gan.model.Engine].

    Args:
        fabric: launched.
        clip_norm: the largest gradient norm by player; 0: any.
        several_parts: whether batches are cut into parts, so that all but the last need not meet.
    """

    def __init__(self, fabric: Fabric, *, clip_norm: dict[str, float], several_parts: bool) -> None:
        self.fabric = fabric
        self.clip_norm = clip_norm
        self._several = several_parts and fabric.world_size > 1

    def autocast(self) -> AbstractContextManager[Any]:
        """Fabric's precision."""
        return self.fabric.autocast()

    def part(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Ranks meet in the last part's backward only."""
        if not self._several:
            return contextlib.nullcontext()
        return self.fabric.no_backward_sync(module, enabled=not last)  # type: ignore[arg-type]

    def raw(self, module: nn.Module) -> nn.Module:
        """The network out of Fabric's and the strategy's wrappers, and uncompiled."""
        return raw(module)

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        """Fabric's, which scales losses under fp16."""
        self.fabric.backward(loss, model=module)  # type: ignore[arg-type]

    def step(self, name: str, module: nn.Module, optimizer: Any) -> None:
        """Clip and update."""
        clip = self.clip_norm.get(name, 0.0)
        if clip:
            self.fabric.clip_gradients(
                module,
                optimizer,
                max_norm=clip,
                error_if_nonfinite=False,
            )
        optimizer.step()


def raw(module: nn.Module) -> nn.Module:
    """The network inside Fabric's wrapper, if it is in one."""
    original = getattr(module, "module", None)
    if type(module).__name__ == "_FabricModule" and isinstance(original, nn.Module):
        return original
    return module
