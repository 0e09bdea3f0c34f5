"""The layers that a frozen chain runs by hand: how each goes forward, and how a gradient comes back.

Values are those of the plain layers; gradients are the same sums in another order.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Elements gated at a time: few enough that their mask, widened, stays in the processor's cache.
_CHUNK = 1 << 18
#: The pixels of a 2x2 window, in reading order.
_WINDOW = ((0, 0), (0, 1), (1, 0), (1, 1))
Kept: TypeAlias = "Tensor | None"


class Step:
    """A layer: how it runs, and how a gradient comes back. ``own``: the input may be written over."""

    @staticmethod
    def fits(layer: Any) -> bool:
        """Return whether this class supports a layer with these settings."""
        raise NotImplementedError

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Tensor, *, own: bool, keep: bool) -> tuple[Tensor, Kept]:
        """The output, and what ``backward`` will read of it."""
        return self.layer(x), None

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        """The gradient of the input, which was of ``size``."""
        raise NotImplementedError


class _Convolution(Step):
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


class _BatchNorm(Step):
    @staticmethod
    def fits(layer: nn.BatchNorm2d) -> bool:
        return layer.track_running_stats and layer.affine

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        scale: Tensor = (self.layer.running_var + self.layer.eps).rsqrt() * self.layer.weight
        return grad * scale.detach().view(-1, 1, 1)


class _Relu(Step):
    @staticmethod
    def fits(layer: nn.ReLU) -> bool:  # noqa: ARG004
        return True

    def forward(self, x: Tensor, *, own: bool, keep: bool) -> tuple[Tensor, Kept]:
        out = torch.relu_(x) if own else torch.relu(x)
        return out, out > 0 if keep else None

    def backward(self, grad: Tensor, kept: Kept, size: torch.Size, *, own: bool) -> Tensor:
        assert kept is not None
        return _gated_(grad, kept) if own else grad * kept


class _Pool(Step):
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


STEPS: dict[type[nn.Module], type[Step]] = {
    nn.Conv2d: _Convolution,
    nn.BatchNorm2d: _BatchNorm,
    nn.ReLU: _Relu,
    nn.MaxPool2d: _Pool,
}
