"""A frozen chain of 3x3 convolutions, ReLUs and 2x2 poolings, differentiated by hand on the CPU.

Autograd keeps every convolution's input, four bytes an element, to find the gradient of weights
that nobody asks for. The gradient of the image needs only where each ReLU let through and which
pixel each pooling took: a byte an element or less. And since the weights never change, a
convolution's gradient is a forward convolution with the kernel turned round, the faster of the two
(kept beside the weights, so the network takes twice their memory: 80 MB more for a VGG-19).

The first layers, whose outputs are the largest, are run a few samples at a time: what they leave
behind is then small enough to be used again, where a batch's would be handed back to the system
and faulted in page by page for the next layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from losskit_perceptual.autograd import may_overwrite, only_autograd
from losskit_perceptual.networks.frozen_steps import STEPS, Kept

#: Bytes above which a layer's output is made in pieces: below the size (32 MiB in glibc) from which
#: the C library gives memory back instead of keeping it.
_PIECE = 20 << 20
#: What a layer's backward pass will read, and the size of its input.
Ran: TypeAlias = "tuple[Kept, torch.Size]"


@dataclass
class _Note:
    """The layers that ran, in their order: the ``head`` first ones once a piece, then the others."""

    layers: list[Ran] = field(default_factory=list)
    head: int = 0
    tail: int = 0  # where the others begin


class FrozenChain:
    """Runs a chain of layers whose weights take no gradient, in evaluation mode.

    Args:
        layers: of which ``fits`` is true.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self.steps = [STEPS[type(layer)](layer) for layer in layers]

    @staticmethod
    def fits(layers: Iterable[nn.Module]) -> bool:
        """Return whether all layers are of the kinds known here, without hooks."""
        return all(
            type(layer) in STEPS
            and STEPS[type(layer)].fits(layer)
            and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
            for layer in layers
        )

    def takes(self, image: Tensor) -> bool:
        """Return whether this call can be run by hand: on the CPU, with nothing but plain autograd active."""
        return (
            only_autograd(image)
            and image.device.type == "cpu"
            and not any(p.requires_grad for step in self.steps for p in step.layer.parameters())
        )

    def __call__(self, image: Tensor, wanted: tuple[int, ...]) -> tuple[Tensor, ...]:
        """The outputs of the layers at the ascending indices ``wanted``; nothing deeper is run."""
        if torch.is_grad_enabled() and image.requires_grad:
            features: tuple[Tensor, ...] = _Run.apply(image, self, wanted)
            return features
        return self.forward(image, wanted, None)

    def forward(self, x: Tensor, wanted: tuple[int, ...], note: _Note | None) -> tuple[Tensor, ...]:
        """Run the layers; ``note`` receives what their gradients need."""
        if x.dtype != torch.float64:  # what oneDNN's convolutions and the poolings here are fast in
            x = x.contiguous(memory_format=torch.channels_last)
        depth = wanted[-1] + 1
        head, rows = self._pieces(x, depth)
        ran: list[Ran] | None = None if note is None else note.layers
        found: dict[int, Tensor] = {}
        for start in range(0, len(x) if head else 0, rows):
            parts = self._forward(x[start : start + rows], range(head), wanted, ran)
            for index, part in parts.items():
                if index not in found:
                    size = (len(x), *part.shape[1:])
                    found[index] = torch.empty(
                        size, dtype=part.dtype, memory_format=torch.channels_last
                    )
                found[index][start : start + rows] = part
        if note is not None:
            note.head, note.tail = head, len(note.layers)
        found |= self._forward(found.get(head - 1, x), range(head, depth), wanted, ran)
        return tuple(found[index] for index in wanted)

    def _pieces(self, x: Tensor, depth: int) -> tuple[int, int]:
        """Compute how many of the layers are run in pieces, and how many samples a piece has."""
        samples, channels, height, width = x.shape
        head = largest = 0
        for index, step in enumerate(self.steps[:depth]):
            sample = channels * height * width * x.element_size()
            if index and samples * sample > _PIECE:
                head, largest = index + 1, max(largest, sample)
            if isinstance(step.layer, nn.Conv2d):
                channels = step.layer.out_channels
            elif isinstance(step.layer, nn.MaxPool2d):
                height, width = height // 2, width // 2
        rows = max(1, _PIECE // max(1, largest))
        return (head, rows) if rows < samples else (0, rows)

    def _forward(
        self, x: Tensor, layers: range, wanted: tuple[int, ...], ran: list[Ran] | None
    ) -> dict[int, Tensor]:
        """The outputs of those ``layers`` that are wanted, and of the last."""
        found: dict[int, Tensor] = {}
        for index in layers:
            size = x.shape
            # What nobody else has seen of the layer before may be written over.
            own = index > 0 and index - 1 not in wanted
            x, kept = self.steps[index].forward(x, own=own, keep=ran is not None)
            if ran is not None:
                ran.append((kept, size))
            if index in wanted or index == layers[-1]:
                found[index] = x
        return found

    def backward(self, grads: Mapping[int, Tensor], note: _Note) -> Tensor | None:
        """The image's gradient from those of outputs, by index."""
        top = max(grads, default=-1) + 1
        ours = all(may_overwrite(given) for given in grads.values())
        grad = self._backward(grads, range(note.head, top), note.layers[note.tail :], None, ours)
        if not note.head or not grads:
            return grad
        parts, start = [], 0
        for first in range(0, note.tail, note.head):
            ran = note.layers[first : first + note.head]
            rows = slice(start, start + ran[0][1][0])
            of_piece = {index: given[rows] for index, given in grads.items()}
            behind = None if grad is None else grad[rows]
            part = self._backward(of_piece, range(min(note.head, top)), ran, behind, ours)
            assert part is not None
            parts.append(part)
            start = rows.stop
        return torch.cat(parts)

    def _backward(
        self,
        grads: Mapping[int, Tensor],
        layers: range,
        ran: Sequence[Ran],
        grad: Tensor | None,
        ours: bool,
    ) -> Tensor | None:
        """Take ``grad`` back through ``layers``; ``ours``: what is made on the way may be written over."""
        own = ours and grad is not None
        for index in reversed(layers):
            if index in grads:
                more = grads[index]
                if grad is None:
                    grad, own = more, False
                else:
                    grad = grad.add_(more) if own else grad + more
            assert grad is not None
            grad = self.steps[index].backward(grad, *ran[index - layers.start], own=own)
            own = ours
        return grad


class _Run(torch.autograd.Function):
    """The chain as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, chain: FrozenChain, wanted: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        note = _Note()
        features = chain.forward(image, wanted, note)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(kept for kept, _ in note.layers))
        ctx.chain, ctx.wanted, ctx.head, ctx.tail = chain, wanted, note.head, note.tail
        ctx.sizes = [size for _, size in note.layers]
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None]:
        arrived = {i: g for i, g in zip(ctx.wanted, grads, strict=True) if g is not None}
        note = _Note(list(zip(ctx.saved_tensors, ctx.sizes, strict=True)), ctx.head, ctx.tail)
        with torch.autocast("cpu", enabled=False):  # the caller's, if it is still in its block
            return ctx.chain.backward(arrived, note), None, None
