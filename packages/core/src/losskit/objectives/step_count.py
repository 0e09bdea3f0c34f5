"""A count of training steps: saved as a tensor, kept by compiled code too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: What the two numbers of a count in compiled code add up to.
_WRITTEN = 0x6C6F73736B6974


class StepCount(nn.Module):
    """A module that counts its training steps (``iteration``) and saves the count.

    Everything in ``state_dict()`` is a tensor, as safetensors and averages of weights need. The count
    itself is a Python number, so that reading it never waits for a device. A copy whose weights are
    averages of this one's (EMA) keeps the count that it was copied with: averaging makes no step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    @property
    def iteration(self) -> int:
        """Number of training steps made so far."""
        return self._steps

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._steps = int(value)

    def get_extra_state(self) -> Tensor:
        """The step count, for checkpoints: an int64 tensor without dimensions."""
        return torch.tensor(self.iteration, dtype=torch.int64)

    def set_extra_state(self, state: Any) -> None:
        """Restore what ``get_extra_state`` gave; older versions saved ``{"iteration": count}``."""
        self.iteration = int(state["iteration"] if isinstance(state, Mapping) else state)


class CompiledStepCount(StepCount):
    """A step count that goes on inside compiled code, which would be compiled anew for each number.

    There a buffer counts; it is no part of ``state_dict()``, which holds the sum. Modules built on the
    meta device get it back uninitialised (``to_empty``, transformers' ``from_pretrained``), so a second
    number beside the count tells whether it was ever written.
    """

    _compiled_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        with torch.inference_mode(False):  # a step writes it, wherever the objective was built
            zero = torch.tensor([0, _WRITTEN])
        self.register_buffer("_compiled_steps", zero, persistent=False)
        self._counted_in_graph = False

    @property
    def iteration(self) -> int:
        """Number of training steps made so far; waits for the device that counted."""
        if not self._counted_in_graph or self._compiled_steps.is_meta:
            return self._steps
        return self._steps + int(_count(self._compiled_steps))

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._steps = int(value)
        if not self._compiled_steps.is_meta:
            self._compiled_steps.zero_()
        self._counted_in_graph = False

    def count_in_graph(self) -> None:
        """Count a training step inside compiled code."""
        if self.training:
            count = _count(self._compiled_steps) + 1
            self._compiled_steps.copy_(torch.stack([count, _WRITTEN - count]))
            self._counted_in_graph = True

    def take_compiled_steps(self) -> None:
        """Go on outside of compiled code from where it stopped; waits for the device that once."""
        if self._counted_in_graph:
            self.iteration = self.iteration


def _count(buffer: Tensor) -> Tensor:
    """Its count; 0 where the two numbers do not belong together, as of memory nobody wrote to."""
    return torch.where(buffer.sum() == _WRITTEN, buffer[0], 0)
