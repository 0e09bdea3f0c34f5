"""Every installed loss's declared example on the device, against float64 on the CPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losskit
from losskit.testing.case import LossCase, backward, call, map_leaves, prepared

NAMES = sorted(spec.qualified_name for spec in losskit.list_losses() if spec.example is not None)
#: Relative error of the value and of the gradients' norm.
BOUNDS = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 5e-2, "float16": 2e-2}


def _moved(case: LossCase, device: torch.device, dtype: torch.dtype) -> tuple[nn.Module, Any]:
    def move(leaf: Any) -> Any:
        if isinstance(leaf, nn.Module):
            return leaf.to(device)
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().to(device).requires_grad_(leaf.requires_grad)

    inputs = prepared(case.example(), dtype=dtype)
    loss = copy.deepcopy(case.loss()).to(device=device, dtype=dtype)
    return loss, {name: map_leaves(value, move) for name, value in inputs.items()}


def _run(case: LossCase, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    loss, inputs = _moved(case, device, dtype)
    value = call(loss, inputs)
    return value.detach(), backward(value, case.example(), inputs)


def _error(found: Tensor, expected: Tensor) -> float:
    """Relative in the norm; absolute near zero."""
    found, expected = found.cpu().double(), expected.cpu().double()
    assert found.isfinite().all()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-3))


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradients_are_those_of_float64(
    name: str, precision: str, device: torch.device
) -> None:
    case = LossCase(name)
    if case.is_random:
        pytest.skip("it draws random numbers, which differ between devices")
    expected, slopes = _run(case, torch.device("cpu"), torch.float64)
    half = precision in ("bfloat16", "float16")
    if precision == "tf32":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    dtype = getattr(torch, precision) if half else torch.bfloat16
    with torch.autocast(device.type, dtype, enabled=half):
        found, gradients = _run(case, device, torch.float32)
    assert _error(found, expected) <= BOUNDS[precision]
    for gradient, slope in zip(gradients, slopes, strict=True):
        # A sign of a difference that half precision rounds away: the norm, not each element.
        assert _error(gradient, slope) <= BOUNDS[precision] * (10 if half else 1)
