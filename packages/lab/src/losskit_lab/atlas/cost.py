"""Cost of a loss relative to L1: time measured by turns, memory by what autograd keeps."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from losskit.backbones import has_storage, shared_features
from losskit.losses.pixel import L1Loss

ImageFunction = Callable[[Tensor, Tensor], Tensor]
#: Rounds a timing takes at most, and the seconds it may take where calls are slow.
ROUNDS, SECONDS = 9, 2.0
_CALLS, _FAST = 10, 0.02  # calls in a row of a loss that takes less seconds than the clock is exact


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one forward and backward pass on one photograph.

    Args:
        milliseconds: median processor time, on one thread.
        time: median divided by that of L1, measured in between.
        memory: bytes that autograd keeps for the backward pass, weights left out, divided by L1's.
    """

    milliseconds: float
    time: float
    memory: float


def cost_of(loss: ImageFunction, image: Tensor, clean: Tensor) -> Cost:
    """Time and memory of a loss relative to L1's.

    The two take turns on one thread, and processor time is counted, so that what else the machine
    does matters little. Every call gets a target of its own, as in training, so that nothing is
    cached between calls.

    Args:
        loss: of two images.
        image: the spoilt photograph, ``(1, 3, h, w)``.
        clean: the photograph.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    unit_loss = L1Loss()
    try:
        own, unit = _rounds(loss, unit_loss, image, clean)
    finally:
        torch.set_num_threads(threads)
    kept = _kept(loss, image, clean) / _kept(unit_loss, image, clean)
    return Cost(1000 * own, own / unit, kept)


def _rounds(
    loss: ImageFunction, unit_loss: ImageFunction, image: Tensor, clean: Tensor
) -> tuple[float, float]:
    """Median seconds of a call, and of one of L1."""
    own: list[float] = []
    unit: list[float] = []
    _timed(unit_loss, image, clean, _CALLS)
    spent = _timed(loss, image, clean)  # the first call may build things: it does not count
    calls = _CALLS if spent < _FAST else 1
    while not own or (len(own) < ROUNDS and spent < SECONDS):
        unit.append(_timed(unit_loss, image, clean, _CALLS))
        own.append(_timed(loss, image, clean, calls))
        spent += calls * own[-1] + _CALLS * unit[-1]
    return statistics.median(own), statistics.median(unit)


def _timed(loss: ImageFunction, image: Tensor, clean: Tensor, calls: int = 1) -> float:
    start = time.process_time()
    for _ in range(calls):
        leaf, target = image.clone().requires_grad_(), clean.clone()
        with shared_features():
            value = loss(leaf, target)
            if value.requires_grad:
                torch.autograd.grad(value, leaf, allow_unused=True)
    return (time.process_time() - start) / calls


def _kept(loss: ImageFunction, image: Tensor, clean: Tensor) -> int:
    """Bytes saved for the backward pass, each storage once; not what was there before the call."""
    # Weights too that no module owns (shared trunks). Held, so that none leaves its address to another.
    # No subclasses: a tracer's stand-ins have no address.
    alive = [thing for thing in gc.get_objects() if type(thing) in (Tensor, nn.Parameter)]
    there = {t.untyped_storage().data_ptr() for t in alive if has_storage(t)}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaf, target = image.clone().requires_grad_(), clean.clone()
    with shared_features(), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        value = loss(leaf, target)  # noqa: F841
    return sum(storages.values())
