"""A batch in parts: their gradients add up, and what losses average over batches advances once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def parts_of(batch: Mapping[str, Any], count: int) -> Iterator[Mapping[str, Any]]:
    """Cut a batch into ``count`` equal parts; what is not per sample goes to each whole.

    Per sample is, in a batch of ``n`` images:

    - a tensor of length ``n``, be it ``(n, c, h, w)`` or ``(n,)``; so a tensor of ``n`` class weights,
      say, is cut like labels are: give it another shape, ``(1, n)``;
    - a list or tuple of tensors that all have length ``n`` (one for each scale): each is cut;
    - a list or tuple of length ``n`` in which there is no tensor: captions, file names, numbers.

    Raises:
        ValueError: the batch has no such parts.
    """
    size = len(batch["real_imgs"])
    if count == 1:
        yield batch
        return
    if size % count:
        raise ValueError(f"a batch of {size} cannot be cut into accumulate={count} equal parts")
    step = size // count
    for begin in range(0, size, step):
        yield {key: _part(value, slice(begin, begin + step), size) for key, value in batch.items()}


def _part(value: Any, part: slice, size: int) -> Any:
    if isinstance(value, Tensor):
        return value[part] if _is_per_sample(value, size) else value
    if not isinstance(value, (list, tuple)):
        return value
    if value and all(isinstance(item, Tensor) and _is_per_sample(item, size) for item in value):
        return type(value)([item[part] for item in value])
    return value[part] if len(value) == size and not _holds_tensor(value) else value


def _is_per_sample(tensor: Tensor, size: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == size


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return isinstance(value, Tensor)
    return any(_holds_tensor(item) for item in value)


class BatchAverages:
    """Moving averages that losses keep, each advanced by the whole batch whose parts they see.

    Every part is judged with the averages as they were before the batch, moved by that part alone.
    Such an average is linear in the batch's mean: the mean of where the equal parts moved it is where
    the whole batch would have. A loss names these buffers in a class attribute ``batch_averages``;
    other state (a pool of past predictions) goes from part to part.

    Args:
        objective: whose losses to look at.
    """

    def __init__(self, objective: nn.Module) -> None:
        self._buffers: list[Tensor] = []
        for loss in objective.modules():
            for name in getattr(loss, "batch_averages", ()):
                buffer = getattr(loss, name)
                if not any(buffer is known for known in self._buffers):
                    self._buffers.append(buffer)
        self._before = [buffer.clone() for buffer in self._buffers]
        self._moved = [torch.zeros_like(buffer) for buffer in self._buffers]
        self._parts = 0

    @torch.no_grad()
    def end_part(self) -> None:
        """Note how far this part moved them, and put them back."""
        self._parts += 1
        for buffer, before, moved in zip(self._buffers, self._before, self._moved, strict=True):
            moved.add_(buffer - before)
            buffer.copy_(before)

    @torch.no_grad()
    def finish(self) -> None:
        """Move them once."""
        for buffer, moved in zip(self._buffers, self._moved, strict=True):
            counts = not buffer.is_floating_point()  # updates, say
            buffer.add_(moved // self._parts if counts else moved / self._parts)
