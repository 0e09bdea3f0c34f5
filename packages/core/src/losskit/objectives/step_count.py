"""A count of training steps: saved as a tensor, kept by compiled code too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class StepCount(nn.Module):
    """A module that counts its training steps (``iteration``) and saves the count.

    Everything in ``state_dict()`` is a tensor, as safetensors and averages of weights need. The count
    itself is a Python number, so that reading it never waits for a device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    @property
    def iteration(self) -> int:
        """How many training steps were made so far."""
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

    There a buffer counts; it is no part of ``state_dict()``, which holds the sum.
    """

    _compiled_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        zero = torch.zeros((), dtype=torch.int64)
        self.register_buffer("_compiled_steps", zero, persistent=False)
        self._counted_in_graph = False

    @property
    def iteration(self) -> int:
        """How many training steps were made so far; waits for the device that counted."""
        return self._steps + int(self._compiled_steps)

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._steps = int(value)
        self._compiled_steps.zero_()
        self._counted_in_graph = False

    def count_in_graph(self) -> None:
        """Count a training step inside compiled code."""
        if self.training:
            self._compiled_steps.add_(1)
            self._counted_in_graph = True

    def take_compiled_steps(self) -> None:
        """Go on outside of compiled code from where it stopped; waits for the device that once."""
        if self._counted_in_graph:
            self.iteration = self.iteration


def must_be_one_graph() -> bool:
    """Whether the code being compiled may not leave its graph (``fullgraph=True``).

    PyTorch has no public way to ask. Where the private one is missing the answer is yes: staying in
    the graph always works, at the price of compiling more often.
    """
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator

        translator: Any = InstructionTranslator.current_tx()
        return bool(translator.one_graph or translator.error_on_graph_break)
    except (ImportError, AttributeError):
        return True
