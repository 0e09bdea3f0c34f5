"""Side effects of a network's pass, undone so that a second pass can begin as the first did."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from losskit_gan.penalties.closure_modules import networks_in


class PassState:
    """A network's buffers and torch's random numbers, as a pass is about to find them.

    Spectral normalisation moves a buffer in every pass of training, and with it the weights; dropout
    draws.

    Args:
        network: a network, or a function that calls some.
        device: where it runs.
    """

    def __init__(self, network: Any, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._random = self._random_states()
        self._buffers = [
            (module, name, buffer, buffer.clone(), _version(buffer))
            for found in networks_in(network)
            for module in found.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if not is_lazy(buffer)
        ]

    def put_back(self) -> None:
        """Let the next pass find what the last one found."""
        cpu, *cuda = self._random
        torch.set_rng_state(cpu)
        for state in cuda:
            torch.cuda.set_rng_state(state, self._cuda or "cuda")
        for module, name, buffer, value, _ in self._buffers:
            # Not buffer.copy_: the first pass's graph may keep it, as it would the network's own
            # change of it.
            buffer.data.copy_(value)
            if getattr(module, name) is not buffer:
                setattr(module, name, buffer)

    def has_moved(self) -> bool:
        """Return whether a pass drew random numbers, or changed a buffer that the next output depends on.

        Running averages do not count: in training they are not read.
        """
        drawn = any(
            not torch.equal(*states)
            for states in zip(self._random, self._random_states(), strict=True)
        )
        return drawn or any(
            not isinstance(module, _NormBase)
            and (getattr(module, name) is not buffer or _version(buffer) != version)
            for module, name, buffer, _, version in self._buffers
        )

    def _random_states(self) -> list[Tensor]:
        cuda = [] if self._cuda is None else [torch.cuda.get_rng_state(self._cuda)]
        return [torch.get_rng_state(), *cuda]


def _version(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version
