"""Batch normalisation's running averages in passes that are differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_AVERAGES = ("running_mean", "running_var")


@contextmanager
def statistics_apart(*networks: Any) -> Iterator[None]:
    """Let a pass that runs as written, in between compiled ones, move copies of running averages.

    Its graph keeps the averages for the backward pass, and a compiled pass before that would write
    to them, which autograd takes for a mistake. They are put back as the pass left them.

    Args:
        networks: those of the pass; functions are passed over.
    """
    swapped = []
    if "torch._dynamo" in sys.modules:  # without the compiler loaded nothing is compiled
        for network in networks:
            for layer in network.modules() if isinstance(network, nn.Module) else ():
                if isinstance(layer, _NormBase) and layer.training:
                    own = ((name, getattr(layer, name)) for name in _AVERAGES)
                    swapped += [(layer, name, value) for name, value in own if value is not None]
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
