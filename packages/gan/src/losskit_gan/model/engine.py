"""Engines around a model's step: mixed precision, distributed wrappers, the update itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Engine(Protocol):
    """Interface of a training framework around a step; `PlainEngine` is torch alone."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The mixed-precision context of forward passes and losses."""

    def raw(self, module: nn.Module) -> nn.Module:
        """The network itself, out of its distributed wrapper; what losses are given."""

    def forward(self, module: nn.Module, *args: Any, updated: bool, **kwargs: Any) -> Any:
        """Run a network, compiled if it is.

        Through its distributed wrapper only if it is ``updated`` with what comes of this pass: ranks
        need not meet over the other player's.
        """

    def full_precision(self, output: Any) -> Any:
        """Convert a network's output out of mixed precision: losses are computed from the result."""

    def part(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Surrounds forward and backward of one part of a batch; after the last, ranks meet."""

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        """Accumulate gradients."""

    def step(self, name: str, module: nn.Module, optimizer: Any) -> None:
        """Clip, if wanted, and update ``module``, which is the ``name`` of the model."""


class PlainEngine:
    """Plain torch on one device, or under ``DistributedDataParallel``: no mixed precision, no clipping."""

    def autocast(self) -> AbstractContextManager[Any]:
        """No mixed precision."""
        return contextlib.nullcontext()

    def raw(self, module: nn.Module) -> nn.Module:
        """The module inside a ``DistributedDataParallel``; compiled, if that is inside it."""
        inner = getattr(module, "_orig_mod", module)  # compile(DDP(network))
        if isinstance(inner, nn.parallel.DistributedDataParallel):
            network: nn.Module = inner.module
            return network
        return module

    def forward(self, module: nn.Module, *args: Any, updated: bool, **kwargs: Any) -> Any:
        """Call the module, or what is inside its wrapper."""
        return (module if updated else self.raw(module))(*args, **kwargs)

    def full_precision(self, output: Any) -> Any:
        """The output as it is."""
        return output

    def part(self, module: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Hold back a ``DistributedDataParallel``'s meeting of ranks until the last part."""
        wrapper = getattr(module, "_orig_mod", module)
        if isinstance(wrapper, nn.parallel.DistributedDataParallel) and not last:
            context: AbstractContextManager[Any] = wrapper.no_sync()
            return context
        return contextlib.nullcontext()

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        """``loss.backward()``."""
        loss.backward()

    def step(self, name: str, module: nn.Module, optimizer: Any) -> None:
        """``optimizer.step()``."""
        optimizer.step()


@contextlib.contextmanager
def frozen(module: nn.Module | None) -> Iterator[None]:
    """Take no gradient for a network's parameters: the other player is being updated."""
    changed = [] if module is None else [p for p in module.parameters() if p.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)
