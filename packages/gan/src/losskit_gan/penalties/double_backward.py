"""Passes whose gradients have gradients: gradient penalties and path lengths are made of these."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase

from losskit_gan.penalties.closure_modules import networks_in

_AVERAGES = ("running_mean", "running_var")


@contextmanager
def differentiable_twice(device: torch.device, network: Any = None) -> Iterator[None]:
    """Run a penalty's own passes so that their gradients have gradients.

    Gradients are on even inside ``no_grad`` or ``inference_mode``; autocast is off, so that the
    penalty is computed in the network's own precision and needs no gradient scaler; the rest is
    `as_written`'s.

    Args:
        device: of the passes.
        network: whose passes they are, so that compiled passes may follow before the backward one.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        as_written(network),
    ):
        yield


@contextmanager
def as_written(*networks: Any, twice: bool = True) -> Iterator[None]:
    """Run networks without what cannot be differentiated twice.

    Whatever is compiled in them runs eagerly, for a compiled graph is one step of the backward
    pass; and attention runs as plain matrix products, for torch's fused kernels are one too.

    Args:
        networks: those of the passes, or functions that call them; ``None`` is passed over.
        twice: ``False`` for what is differentiated once, but within the pass: attention stays fused.
    """
    with ExitStack() as surroundings:
        if twice:
            surroundings.enter_context(sdpa_kernel(SDPBackend.MATH))
        # Without the compiler loaded nothing is compiled, and loading it takes seconds.
        if "torch._dynamo" in sys.modules:
            # Refused inside a compiled training step, which leaves penalties uncompiled anyway.
            with suppress(RuntimeError):
                surroundings.enter_context(torch.compiler.set_stance("force_eager"))
            surroundings.enter_context(statistics_apart(*networks))
        yield


@contextmanager
def statistics_apart(*networks: Any) -> Iterator[None]:
    """Let a pass that runs as written, in between compiled ones, move copies of running averages.

    Its graph keeps the averages for the backward pass, and a compiled pass before that would write
    to them, which autograd takes for a mistake. They are put back as the pass left them.

    Args:
        networks: those of the pass, or functions that call them.
    """
    modules = (m for network in networks for net in networks_in(network) for m in net.modules())
    layers = dict.fromkeys(m for m in modules if isinstance(m, _NormBase) and m.training)
    owned = [(layer, name, getattr(layer, name)) for layer in layers for name in _AVERAGES]
    swapped = [(layer, name, value) for layer, name, value in owned if value is not None]
    with torch.no_grad():
        for layer, name, average in swapped:
            setattr(layer, name, average.clone())
    try:
        yield
    finally:
        for layer, name, average in swapped:
            # Not average.copy_: other graphs may keep it, and they need not know, as with the
            # layer's own update.
            average.data.copy_(getattr(layer, name).data)
            setattr(layer, name, average)


def differentiable(output: Tensor) -> bool:
    """Return whether torch can run the backward pass of a tensor that is made of gradients.

    A kernel whose backward pass has none itself, as those of fused attention, leaves a node in the
    graph that raises when it is reached.
    """
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("NotImplemented"):
            return False
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return True
