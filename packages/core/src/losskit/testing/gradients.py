"""Checks of gradients: they reach what they should, nothing else, and they are right."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from losskit.testing.case import (
    SEED,
    CheckFailed,
    LossCase,
    NotApplicable,
    backward,
    call,
    differentiable,
    explained,
    fail_unless,
    float_tensors,
    leaves,
    prepared,
)
from losskit.testing.checks import check
from losskit.text import one_line

_TINY = 8  # gradcheck calls the loss a few times per input: small images say as much
PENALTY = "penalty"
LEARNABLE = "learnable"


@check("gradients")
def check_gradients(case: LossCase) -> None:
    """A no_grad or detach in the wrong place trains nothing; a gradient into the target trains the wrong thing."""
    example = case.example()
    fail_unless(
        bool(example.grad) or "metric" in case.spec.tags,
        f"the example of {case.name} names no input that gets gradients",
        "name them in Example.grad, or tag the loss 'metric'",
    )
    inputs = prepared(example)
    frozen = {name: float_tensors(inputs[name]) for name in example.frozen}
    for tensors in frozen.values():  # whatever the caller forgot to detach
        for tensor in tensors:
            tensor.requires_grad_(True)
    loss = case.loss(example)
    value = call(loss, inputs)
    if value.requires_grad:
        value.sum().backward()
    for name, tensors in differentiable(example, inputs).items():
        fail_unless(
            bool(tensors), f"input {name!r} of Example.grad holds no tensor", "name those that do"
        )
        fail_unless(
            any(t.grad is not None and bool(t.grad.abs().sum() > 0) for t in tensors),
            f"no gradient reaches {name!r}",
            "compute the value from it with differentiable operations: no .item(), .data, "
            ".detach(), rounding or torch.no_grad() on the way",
        )
    for name, tensors in frozen.items():
        fail_unless(
            all(t.grad is None or not bool(t.grad.any()) for t in tensors),
            f"a gradient flows into {name!r}, which the example says is frozen",
            f"use {name}.detach() in the loss (losskit.losses.base.without_gradient), or take it out of "
            "Example.frozen",
        )
    trained = [name for name, p in loss.named_parameters() if p.grad is not None]
    fail_unless(
        not trained or LEARNABLE in case.spec.tags,
        f"the loss's own parameter {trained[0] if trained else ''!r} gets a gradient",
        f"freeze it with requires_grad_(False), or tag the loss {LEARNABLE!r}",
    )


@check("gradcheck")
def check_gradcheck(case: LossCase) -> None:
    """The gradient must be the slope of the value, by finite differences in float64; twice for penalties."""
    size = max(case.min_size, _TINY)
    example = case.example(size=(size, size))
    if not example.grad:
        raise NotApplicable("no input gets gradients")
    inputs = prepared(example, dtype=torch.float64)
    with explained("making it in float64", "support .double()"):
        loss = case.loss(example).double()
    tensors = [t for group in differentiable(example, inputs).values() for t in group]
    buffers = _buffers(inputs)
    # A mean over many pixels has slopes smaller than gradcheck's absolute tolerance, which would
    # then pass anything: bring them to a size of 1.
    gradients = backward(call(copy.deepcopy(loss), inputs), example, inputs)
    size_of_slope = torch.cat([g.flatten() for g in gradients]).square().mean().sqrt().item()
    scale = 1 / size_of_slope if size_of_slope > 0 else 1.0

    def function(*_: Tensor) -> Tensor:
        # gradcheck moves the very tensors that are in `inputs`; what else has a state is put back,
        # so that the loss is a function of them alone.
        for buffer, saved in buffers:
            buffer.copy_(saved)
        value: Tensor = call(copy.deepcopy(loss), inputs)
        return value * scale

    _run_gradcheck(function, tensors, torch.autograd.gradcheck)
    if PENALTY in case.spec.tags:
        _run_gradcheck(function, tensors, torch.autograd.gradgradcheck)


def _run_gradcheck(function: Any, tensors: list[Tensor], run: Any) -> None:
    torch.manual_seed(SEED)  # fast mode projects on random directions
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(function, tuple(tensors), fast_mode=True, atol=1e-5, rtol=1e-3, nondet_tol=1e-9)
    except Exception as error:
        raise CheckFailed(
            f"{run.__name__} says: {one_line(error)[:300]}. To mend it: look for a detach, a "
            "float() or a constant that is cast to float32, an in-place operation, or a kink that "
            "the example sits on."
        ) from error


def _buffers(inputs: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """The buffers of networks among the inputs, with their values."""
    return [
        (buffer, buffer.detach().clone())
        for value in inputs.values()
        for leaf in leaves(value)
        if isinstance(leaf, nn.Module)
        for buffer in leaf.buffers()
    ]
