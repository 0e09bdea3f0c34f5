"""Checks of what a loss returns: one finite number, the same under one seed, and nothing else changed."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError
from losskit.spec import Example
from losskit.testing.case import (
    LossCase,
    NotApplicable,
    backward,
    call,
    close,
    explained,
    fail_unless,
    leaves,
    map_leaves,
    pairs,
    prepared,
)
from losskit.testing.checks import check
from losskit.text import one_line


@check("scalar")
def check_scalar(case: LossCase) -> None:
    """An objective adds losses up and calls backward: each must be one floating-point number."""
    example = case.example()
    with explained("the call", "let the loss run on its own example"):
        value = call(case.loss(example), prepared(example))
    fail_unless(
        isinstance(value, Tensor),
        f"the call returned {type(value).__name__}",
        "return one tensor; offer parts as components()",
    )
    if example.arguments.get("reduction") != "none":
        fail_unless(
            value.ndim == 0,
            f"the call returned shape {tuple(value.shape)}",
            "reduce to one number by default and offer reduction='none'",
        )
    fail_unless(value.is_floating_point(), f"the call returned {value.dtype}", "return floats")


@check("reduction")
def check_reduction(case: LossCase) -> None:
    """People ask for per-sample values: 'none' must hold what 'mean' and 'sum' are made of."""
    if not case.has_option_reduction:
        raise NotApplicable("the loss takes no reduction")
    example = case.example()
    inputs = prepared(example, grad=False)
    values: dict[str, Tensor] = {}
    for reduction in ("mean", "sum", "none"):
        try:
            loss = case.loss(example, reduction=reduction)
        except ConfigError as error:  # refused by name, as reductions that make no sense should be
            fail_unless(
                "reduction" in str(error),
                f"reduction={reduction!r} is refused with {one_line(error)!r}",
                "name the argument in the message",
            )
            continue
        with explained(f"the call with reduction={reduction!r}", "mend it, or refuse the value"):
            values[reduction] = call(loss, inputs).detach()
    parts = values.get("none")
    weighted = any(name in example.inputs for name in ("weight", "mask"))
    if parts is not None and not weighted:
        for reduction, whole in (("mean", parts.mean()), ("sum", parts.sum())):
            if reduction in values:
                fail_unless(
                    close(values[reduction], whole, rtol=1e-3, atol=1e-5),
                    f"reduction={reduction!r} gives {float(values[reduction]):.6g}, but the "
                    f"{reduction} of reduction='none' is {float(whole):.6g}",
                    "reduce the very values that 'none' returns",
                )
    try:
        call(case.loss(example, reduction="average"), inputs)
    except (LosskitError, ValueError) as error:
        fail_unless(
            "reduction" in str(error),
            f"reduction='average' is refused with {one_line(error)!r}",
            "use losskit.losses.reduction.check_reduction",
        )
        return
    fail_unless(
        False, "reduction='average' is accepted", "use losskit.losses.reduction.check_reduction"
    )


@check("finite")
def check_finite(case: LossCase) -> None:
    """One NaN ends a training run: roots, norms and logarithms have no slope at 0, where a perfect prediction is."""
    for situation, change in _situations(case.example()):
        example = case.example()
        inputs = prepared(example)
        change(inputs)
        with explained(f"the call {situation}", "let it be defined there"):
            value = call(case.loss(example), inputs)
            gradients = backward(value, example, inputs)
        fail_unless(
            bool(torch.isfinite(value).all()),
            f"the value {situation} is {value.detach()}",
            "clamp, or add an eps, before the root, the division or the logarithm",
        )
        fail_unless(
            all(bool(torch.isfinite(gradient).all()) for gradient in gradients),
            f"the gradient {situation} is not finite, though the value is {float(value.detach().sum()):.4g}",
            "sqrt, norm and acos have an infinite slope there: add an eps inside, or clamp first",
        )


def _situations(example: Example) -> list[tuple[str, Callable[[dict[str, Any]], None]]]:
    """List situations where losses break: ordinary inputs, a perfect prediction, black images."""

    def black(inputs: dict[str, Any]) -> None:
        for name in (*example.grad, *example.frozen):
            inputs[name] = map_leaves(inputs[name], _zeroed)

    def perfect(grad: str, frozen: str) -> Callable[[dict[str, Any]], None]:
        def change(inputs: dict[str, Any]) -> None:
            inputs[grad] = inputs[frozen].detach().clone().requires_grad_(True)

        return change

    found: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
        ("on the example's inputs", lambda _: None)
    ]
    found += [(f"at {grad} == {frozen}", perfect(grad, frozen)) for grad, frozen in pairs(example)]
    return [*found, ("where all inputs are 0", black)]


def _zeroed(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
        return leaf
    return torch.zeros_like(leaf, requires_grad=leaf.requires_grad)


@check("determinism")
def check_determinism(case: LossCase) -> None:
    """Two runs with one seed must agree, and ``.train()`` on a parent must not switch a loss's dropout on."""
    example = case.example()
    used = case.loss(example)
    first = call(used, prepared(example))
    second = call(case.loss(example), prepared(example))
    fail_unless(
        close(first, second, rtol=1e-6),
        f"under one seed it gives {first.detach()} and {second.detach()}",
        "draw random numbers from torch's generator only, and none from Python's or the clock",
    )
    if not _same_state(case.loss(example), used):
        return  # running averages are updated in training only, by definition
    evaluated = call(case.loss(example).eval(), prepared(example))
    fail_unless(
        close(first, evaluated, rtol=1e-6),
        f"it gives {first.detach()} in training and {evaluated.detach()} in evaluation",
        "freeze networks for good: override train() so that they stay in eval",
    )


def _same_state(left: nn.Module, right: nn.Module) -> bool:
    mine, other = left.state_dict(), right.state_dict()
    return all(torch.equal(mine[key], other[key]) for key in mine)


@check("side-effects")
def check_side_effects(case: LossCase) -> None:
    """A loss that writes into its inputs, a network's gradients or the generator breaks code far away."""
    example = case.example()
    arguments = copy.deepcopy(dict(example.arguments)) if _copyable(example) else None
    torch.manual_seed(SEED_OF_CALLER)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        state = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
        loss = create_unseeded(case, example)
        inputs = prepared(example)
        before = _snapshot(inputs)
        value = loss(**inputs)
        _compare(before)
        _untouched_gradients(inputs)
        if value.requires_grad:
            value.sum().backward()
            _compare(before)
    fail_unless(
        torch.initial_seed() == SEED_OF_CALLER,
        "making or calling it reseeds torch's generator",
        "use a torch.Generator of your own, or torch.random.fork_rng()",
    )
    fail_unless(
        state == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()),
        "making or calling it changes torch's default dtype, gradient mode or threads",
        "use context managers",
    )
    fail_unless(
        not printed.getvalue(), f"it prints {printed.getvalue()[:80]!r}", "use logging or warnings"
    )
    if arguments is not None:
        fail_unless(
            arguments == dict(example.arguments),
            f"it changes its own arguments from {arguments!r} to {dict(example.arguments)!r}",
            "copy lists and dicts before changing them",
        )


SEED_OF_CALLER = 4_711


def create_unseeded(case: LossCase, example: Example) -> nn.Module:
    """Make the loss without seeding first, to see whether it does."""
    from losskit.objectives.build import create

    return create(case.name, **example.arguments)


def _copyable(example: Example) -> bool:
    """Return whether two copies of the arguments can be compared with ``==``."""
    return not any(
        isinstance(leaf, (Tensor, nn.Module)) for leaf in leaves(dict(example.arguments))
    )


def _snapshot(inputs: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [
        (name, leaf, _state(leaf))
        for name, value in inputs.items()
        for leaf in leaves(value)
        if isinstance(leaf, (Tensor, nn.Module))
    ]


def _state(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf.detach().clone(), leaf.requires_grad
    # Buffers may change: batch norm's statistics are the network's own affair.
    return (
        {name: p.detach().clone() for name, p in leaf.named_parameters()},
        ([p.requires_grad for p in leaf.parameters()], [m.training for m in leaf.modules()]),
    )


def _compare(before: list[tuple[str, Any, Any]]) -> None:
    for name, leaf, (values, flags) in before:
        now, now_flags = _state(leaf)
        same = (
            torch.equal(values, now)
            if isinstance(now, Tensor)
            else all(torch.equal(values[key], now[key]) for key in values)
        )
        fail_unless(same, f"it changes its input {name!r} in place", "work on a copy")
        fail_unless(
            flags == now_flags,
            f"it leaves requires_grad or the training mode of its input {name!r} changed",
            "restore them, or use torch.autograd.grad on what you need",
        )


def _untouched_gradients(inputs: dict[str, Any]) -> None:
    for name, value in inputs.items():
        for leaf in leaves(value):
            tensors = list(leaf.parameters()) if isinstance(leaf, nn.Module) else [leaf]
            fail_unless(
                all(t.grad is None for t in tensors if isinstance(t, Tensor) and t.is_leaf),
                f"the call leaves gradients in its input {name!r}",
                "use torch.autograd.grad, not backward(), inside a loss",
            )
