"""A frozen chain of 3x3 convolutions, ReLUs and 2x2 poolings, differentiated by hand on the CPU.

Autograd keeps every convolution's input, four bytes an element, to find the gradient of weights
that nobody asks for. The gradient of the image needs only where each ReLU let through and which
pixel each pooling took: a byte an element or less. And since the weights never change, a
convolution's gradient is a forward convolution with the kernel turned round, the faster of the two
(kept beside the weights, so the network takes twice their memory: 80 MB more for a VGG-19).

Values are those of the plain layers; gradients are the same sums in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losskit_perceptual.autograd import may_overwrite, only_autograd

#: Elements gated at a time: few enough that their mask, widened, stays in the processor's cache.
_CHUNK = 1 << 18
#: The pixels of a 2x2 window, in reading order.
_WINDOW = ((0, 0), (0, 1), (1, 0), (1, 1))
Kept: TypeAlias = "Tensor | None"


class _Step:
    """A layer: how it runs, and how a gradient comes back. ``own``: the input may be written over."""

    @staticmethod
    def fits(layer: Any) -> bool:
        """Whether this class knows a layer with these settings."""
        raise NotImplementedError

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Tensor, *, own: bool, keep: bool) -> tuple[Tensor, Kept]:
        """The output, and what ``backward`` will read of it."""
        return self.layer(x), None

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        """The gradient of the input, which was of ``size``."""
        raise NotImplementedError


class _Convolution(_Step):
    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        self._turned: tuple[tuple[int, int], Tensor] | None = None

    @staticmethod
    def fits(layer: nn.Conv2d) -> bool:
        how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        return how == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and layer.padding_mode == "zeros"

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        return F.conv2d(grad, self._kernel(), padding=1)

    def _kernel(self) -> Tensor:
        """The kernel turned round: made once, and again should the weight have been written to."""
        weight = self.layer.weight
        state = (weight.data_ptr(), 0 if weight.is_inference() else weight._version)
        if self._turned is None or self._turned[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                turned: Tensor = weight.detach().flip(2, 3).transpose(0, 1)
                turned = turned.clone(memory_format=torch.channels_last)
            if type(turned) is not Tensor:  # a tracer's stand-in, of use to this call only
                return turned
            self._turned = (state, turned)
        return self._turned[1]


class _BatchNorm(_Step):
    @staticmethod
    def fits(layer: nn.BatchNorm2d) -> bool:
        return layer.track_running_stats and layer.affine

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        scale: Tensor = (self.layer.running_var + self.layer.eps).rsqrt() * self.layer.weight
        return grad * scale.detach().view(-1, 1, 1)


class _Relu(_Step):
    @staticmethod
    def fits(layer: nn.ReLU) -> bool:  # noqa: ARG004
        return True

    def forward(self, x: Tensor, *, own: bool, keep: bool) -> tuple[Tensor, Kept]:
        out = torch.relu_(x) if own else torch.relu(x)
        return out, out > 0 if keep else None

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        assert kept is not None
        return _gated_(grad, kept) if own else grad * kept


class _Pool(_Step):
    """2x2 maxima; of equals the first in reading order gets the gradient, as in torch."""

    @staticmethod
    def fits(layer: nn.MaxPool2d) -> bool:
        def each(value: object, wanted: int) -> bool:
            return value in (wanted, (wanted, wanted))

        return (
            each(layer.kernel_size, 2)
            and each(layer.stride, 2)
            and each(layer.padding, 0)
            and each(layer.dilation, 1)
            and not layer.ceil_mode
            and not layer.return_indices
        )

    def forward(self, x: Tensor, *, own: bool, keep: bool) -> tuple[Tensor, Kept]:
        height, width = (n // 2 * 2 for n in x.shape[2:])
        if not height or not width:
            return self.layer(x), None  # which says what is wrong
        left, right = x[:, :, :height, :width:2], x[:, :, :height, 1:width:2]
        row = torch.maximum(left, right)
        out = torch.maximum(row[:, :, ::2], row[:, :, 1::2])
        if not keep:
            return out, None
        at_right, below = right > left, row[:, :, 1::2] > row[:, :, ::2]
        above, under = at_right[:, :, ::2], at_right[:, :, 1::2]
        beside = above ^ ((above ^ under) & below)  # whichever row the maximum is in
        return out, below.view(torch.uint8).mul_(2).add_(beside.view(torch.uint8))

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        assert kept is not None
        height, width = (2 * n for n in grad.shape[2:])
        if not own:
            four = torch.stack([grad * (kept == k) for k in range(4)], 2)
            image = F.pixel_shuffle(four.reshape(len(grad), -1, *grad.shape[2:]), 2)
            return F.pad(image, (0, size[3] - width, 0, size[2] - height))
        result = torch.empty(size, dtype=grad.dtype, memory_format=torch.channels_last)
        result[:, :, height:], result[:, :, :, width:] = 0, 0
        for sample, places, into in zip(grad, kept, result, strict=True):
            for k, (y, x) in enumerate(_WINDOW):
                torch.mul(sample, places == k, out=into[:, y:height:2, x:width:2])
        return result


def _gated_(grad: Tensor, mask: Tensor) -> Tensor:
    """``grad.mul_(mask)``, which torch does by way of a whole mask of the gradient's type."""
    if not grad.is_contiguous(memory_format=torch.channels_last):
        return grad.mul_(mask)
    values, gates = (t.permute(0, 2, 3, 1).reshape(-1) for t in (grad, mask))
    for part, gate in zip(torch.split(values, _CHUNK), torch.split(gates, _CHUNK), strict=True):
        part.mul_(gate.to(part.dtype))
    return grad


_STEPS: dict[type[nn.Module], type[_Step]] = {
    nn.Conv2d: _Convolution,
    nn.BatchNorm2d: _BatchNorm,
    nn.ReLU: _Relu,
    nn.MaxPool2d: _Pool,
}


class FrozenChain:
    """Runs a chain of layers whose weights take no gradient, in evaluation mode.

    Args:
        layers: of which ``fits`` is true.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self.steps = [_STEPS[type(layer)](layer) for layer in layers]

    @staticmethod
    def fits(layers: Iterable[nn.Module]) -> bool:
        """Whether all layers are of the kinds that are known here, and nobody hooks into them."""
        return all(
            type(layer) in _STEPS
            and _STEPS[type(layer)].fits(layer)
            and not (layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
            for layer in layers
        )

    def takes(self, image: Tensor) -> bool:
        """Whether this call can be run by hand: on the CPU, with none but autograd looking on."""
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
        return self.forward(image, wanted)

    def forward(
        self,
        x: Tensor,
        wanted: tuple[int, ...],
        note: list[tuple[Kept, torch.Size]] | None = None,
    ) -> tuple[Tensor, ...]:
        """Run the layers; ``note`` receives what each one's gradient needs."""
        found: list[Tensor] = []
        if x.dtype != torch.float64:  # what oneDNN's convolutions and the poolings here are fast in
            x = x.contiguous(memory_format=torch.channels_last)
        for index, step in enumerate(self.steps[: wanted[-1] + 1]):
            size = x.shape
            # What nobody else has seen of the layer before may be written over.
            own = index > 0 and index - 1 not in wanted
            x, kept = step.forward(x, own=own, keep=note is not None)
            if note is not None:
                note.append((kept, size))
            if index in wanted:
                found.append(x)
        return tuple(found)

    def backward(
        self, grads: dict[int, Tensor], note: Sequence[tuple[Kept, torch.Size]]
    ) -> Tensor | None:
        """The image's gradient from those of outputs, by index."""
        grad: Tensor | None = None
        own = False
        ours = all(may_overwrite(given) for given in grads.values())
        for index in range(max(grads, default=-1), -1, -1):
            if index in grads:
                more = grads[index]
                if grad is None:
                    grad, own = more, False
                else:
                    grad = grad.add_(more) if own else grad + more
            assert grad is not None
            grad = self.steps[index].backward(grad, *note[index], own=own)
            own = ours
        return grad


class _Run(torch.autograd.Function):
    """The chain as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, chain: FrozenChain, wanted: tuple[int, ...]
    ) -> tuple[Tensor, ...]:
        note: list[tuple[Kept, torch.Size]] = []
        features = chain.forward(image, wanted, note)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(kept for kept, _ in note))
        ctx.chain, ctx.wanted, ctx.sizes = chain, wanted, [size for _, size in note]
        return features

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None]:
        arrived = {i: g for i, g in zip(ctx.wanted, grads, strict=True) if g is not None}
        note = list(zip(ctx.saved_tensors, ctx.sizes, strict=True))
        with torch.autocast("cpu", enabled=False):  # the caller's, if it is still in its block
            return ctx.chain.backward(arrived, note), None, None
