"""A moving average of a network's weights (Karras et al., PGGAN, ICLR 2018, arXiv:1710.10196)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from losskit_train.run.sharding import local


class ExponentialMovingAverage:
    """A copy of a network whose weights follow slowly; what GANs are sampled and judged with.

    Buffers (running statistics) are copied, not averaged. Where parameters are spread over ranks, so
    must the copy's be, in the same way; each rank then averages its part.

    Args:
        module: the network to follow.
        decay: share of the old average that stays at each update, in [0, 1).
        start: updates that only copy, before averaging begins.

    Raises:
        ValueError: ``decay`` is not in [0, 1).

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> ema = ExponentialMovingAverage(layer, decay=0.9)
        >>> _ = layer.weight.data.add_(1.0)
        >>> ema.update(layer, step=0)
        >>> bool(torch.isclose(layer.weight - ema.module.weight, torch.tensor(0.9)))
        True
    """

    def __init__(self, module: nn.Module, *, decay: float, start: int = 0) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, not {decay!r}")
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.start = start

    @torch.no_grad()
    def update(self, module: nn.Module, *, step: int) -> None:
        """Move towards ``module``'s weights as they are at ``step``."""
        own: list[Tensor] = [local(parameter) for parameter in self.module.parameters()]
        new = [local(parameter.detach()) for parameter in module.parameters()]
        if step < self.start:
            torch._foreach_copy_(own, new)
        else:
            torch._foreach_lerp_(own, new, 1 - self.decay)
        for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)
