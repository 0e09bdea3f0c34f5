"""Lightning Fabric around the model's step: mixed precision, ranks, clipping."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class FabricEngine:
    """Engine around a step, on Fabric; see `Engine`.

    Args:
        fabric: launched.
        clip_norm: the largest gradient norm by player; 0: any.
        several_parts: whether batches are cut into parts, so that all but the last need not meet.
        sharded: networks whose parameters are spread over ranks.
    """

    def __init__(
        self,
        fabric: Fabric,
        *,
        clip_norm: dict[str, float],
        several_parts: bool,
        sharded: Sequence[nn.Module] = (),
    ) -> None:
        self.fabric = fabric
        self.clip_norm = clip_norm
        self.skipped_updates = 0
        self._several = several_parts and fabric.world_size > 1
        self._sharded: list[Any] = list(sharded)

    def autocast(self) -> AbstractContextManager[Any]:
        """Fabric's precision."""
        return self.fabric.autocast()

    def part(self, module: Any, *, last: bool) -> AbstractContextManager[Any]:
        """Ranks meet in the last part's backward only."""
        if not self._several:
            return contextlib.nullcontext()
        return self.fabric.no_backward_sync(module, enabled=not last)

    def raw(self, module: nn.Module) -> nn.Module:
        """The network out of Fabric's and the data-parallel wrapper.

        What is compiled or sharded stays so: both are done to the network in place.
        """
        return raw(module)

    def forward(self, module: nn.Module, *args: Any, updated: bool, **kwargs: Any) -> Any:
        """Run a network in Fabric's precision.

        Not by a call of Fabric's wrapper, whose outputs allow no ``autograd.grad`` under mixed
        precision, which path lengths and adaptive weights need.
        """
        network: Any = getattr(module, "_forward_module", module) if updated else raw(module)
        with self.fabric.autocast():
            return network(*args, **kwargs)

    def full_precision(self, output: Any) -> Any:
        """Half precision is made single; under ``32-true`` nothing changes."""
        return self.fabric.strategy.precision.convert_output(output)

    def backward(self, loss: Tensor, module: Any) -> None:
        """Fabric's, which scales losses under fp16."""
        self.fabric.backward(loss, model=module)

    def step(self, name: str, module: nn.Module, optimizer: Any) -> None:
        """Clip and update; under fp16, an update with infinite gradients is left out and counted."""
        self.reshard()
        clip = self.clip_norm.get(name, 0.0)
        if clip:
            self.fabric.clip_gradients(
                module,
                optimizer,
                max_norm=clip,
                error_if_nonfinite=False,
            )
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        before = 0.0 if scaler is None else scaler.get_scale()
        optimizer.step()
        # A scale that fell is how a scaler says it; it has waited for the device by then anyway.
        self.skipped_updates += scaler is not None and scaler.get_scale() < before

    def reshard(self) -> None:
        """Give away the parts of sharded networks that passes brought together."""
        for network in self._sharded:
            network.reshard()


def raw(module: nn.Module) -> nn.Module:
    """The network inside Fabric's wrapper, if it is in one."""
    original = getattr(module, "module", None)
    if type(module).__name__ == "_FabricModule" and isinstance(original, nn.Module):
        return original
    return module
