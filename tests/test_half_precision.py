"""Every loss over a network, with the network in half precision, at the images that overflow first."""

from __future__ import annotations

import inspect

import pytest
import torch

import losskit
from losskit.discovery.targets import resolve_target
from losskit.testing.case import call

NAMES = [
    spec.qualified_name
    for spec in losskit.list_losses()
    if spec.namespace != "local"  # what pages registered in this process
    and "precision" in inspect.signature(resolve_target(spec.target)).parameters
]


def images(kind: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.rand_like(like), torch.rand_like(like)
    return {
        "flat": (torch.full_like(like, 0.5), torch.full_like(like, 0.6)),
        "equal": (noise[0], noise[0].clone()),
        "black and white": (torch.zeros_like(like), torch.ones_like(like)),
        "far out of range": (60 * noise[0], 60 * noise[1]),
    }[kind]


@pytest.mark.filterwarnings("ignore::losskit.errors.RangeWarning")
@pytest.mark.parametrize("kind", ["flat", "equal", "black and white", "far out of range"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite(name: str, precision: str, kind: str) -> None:
    example = resolve_target(losskit.get_spec(name).example)()
    loss = losskit.create(name, **{**example.arguments, "precision": precision})
    inputs = dict(example.inputs)
    learns = example.grad[0]
    others = [
        key
        for key, value in inputs.items()
        if isinstance(value, torch.Tensor) and value.shape == inputs[learns].shape and key != learns
    ]
    pred, target = images(kind, inputs[learns].detach().float())
    inputs[learns] = pred.requires_grad_()
    inputs.update(dict.fromkeys(others, target))
    value = call(loss, inputs).sum()
    (gradient,) = torch.autograd.grad(value, pred)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
