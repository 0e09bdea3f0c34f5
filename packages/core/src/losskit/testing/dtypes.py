"""Checks of precision and device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from losskit.testing.case import (
    CheckFailed,
    LossCase,
    NotApplicable,
    backward,
    call,
    close,
    explained,
    fail_unless,
    map_leaves,
    prepared,
)
from losskit.testing.checks import check

_AUTOCAST_RTOL = 0.1  # bf16 has 8 bits, and a network adds up many of them
_AUTOCAST_ATOL = 0.01
#: What torch says when devices are mixed; other complaints are the meta device's own.
_MIXED = ("not on the expected device", "same device", "Expected all tensors")


@check("float64")
def check_float64(case: LossCase) -> None:
    """Gradients are checked in float64: a constant or a cast in float32 hides there, and costs digits."""
    example = case.example()
    with explained("the call in float64", "make constants with tensor.new_tensor or as buffers"):
        value = call(case.loss(example).double(), prepared(example, dtype=torch.float64))
    fail_unless(
        value.dtype == torch.float64,
        f"float64 inputs give {value.dtype}",
        "follow the inputs' dtype; upcast half precision only",
    )
    if case.is_random:  # other dtypes draw other numbers
        return
    single = call(case.loss(example), prepared(example))
    fail_unless(
        close(value, single, rtol=1e-3, atol=1e-5),
        f"it gives {value.detach()} in float64 and {single.detach()} in float32",
        "look for an eps that float32 rounds away, or a difference of large numbers",
    )


@check("autocast")
def check_autocast(case: LossCase) -> None:
    """Training runs under bf16 autocast: networks may round, distances, roots and FFTs must not."""
    example = case.example()
    expected = call(case.loss(example), prepared(example))
    inputs = prepared(example)
    with (
        explained("the call under bf16 autocast", "compute in float32: tensor.float()"),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        value = call(case.loss(example), inputs)
    with explained("its backward pass", "compute in float32: tensor.float()"):
        gradients = backward(value, example, inputs)
    fail_unless(
        all(bool(torch.isfinite(t).all()) for t in (value, *gradients)),
        "under bf16 autocast the value or its gradient is not finite",
        "compute distances in float32: pred.float() under torch.autocast(..., enabled=False)",
    )
    if case.has_modules:  # somebody else's network rounds as it likes
        return
    fail_unless(
        close(value, expected, rtol=_AUTOCAST_RTOL, atol=_AUTOCAST_ATOL),
        f"under bf16 autocast it gives {float(value.detach().sum()):.5g} instead of "
        f"{float(expected.detach().sum()):.5g}",
        "compute distances in float32: pred.float() under torch.autocast(..., enabled=False)",
    )


@check("device")
def check_device(case: LossCase) -> None:
    """A tensor made on the CPU inside the call, or kept as a plain attribute, fails on the first GPU.

    Without a GPU torch's "meta" device stands in: it computes shapes only, and mixing it with the
    CPU is refused in the same way.
    """
    device = "cuda" if torch.cuda.is_available() else "meta"
    example = case.example()
    loss = copy.deepcopy(case.loss(example)).to(device)
    inputs = {n: map_leaves(v, _mover(device)) for n, v in prepared(example, grad=False).items()}
    try:
        with (
            explained(
                f"the call on another device ({device})",
                "register constants as buffers, or make them with tensor.new_tensor(...)",
            ),
            mock.patch.object(torch, "autocast", _Autocast),
        ):
            value = call(loss, inputs)
    except CheckFailed as failure:
        if device == "meta" and not any(word in str(failure) for word in _MIXED):
            raise NotApplicable(f"there it cannot be run: {failure}"[:200]) from failure
        raise
    fail_unless(
        value.device.type == device,
        f"the value is on {value.device}",
        "compute it from the inputs, on their device",
    )
    if device == "cuda" and not case.is_random:
        expected = call(case.loss(example), prepared(example))
        fail_unless(
            close(value.cpu(), expected, rtol=1e-2, atol=1e-3),
            f"it gives {value.detach().cpu()} on the GPU and {expected.detach()} on the CPU",
            "look for a state that did not move",
        )


class _Autocast(torch.autocast):
    """torch's own, which knows no meta device, although losses rightly ask for their tensors'."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, *args, **kwargs)


def _mover(device: str) -> Callable[[Any], Any]:
    return lambda leaf: leaf.to(device) if isinstance(leaf, (Tensor, nn.Module)) else leaf
