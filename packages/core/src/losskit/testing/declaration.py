"""Checks of what a plugin declares of a loss: its spec, its example, its arguments."""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from losskit.errors import ConfigError
from losskit.losses.base import input_parameters
from losskit.objectives.build import build
from losskit.signatures import constructor_parameters, is_required
from losskit.spec import Example
from losskit.testing.case import (
    SEED,
    LossCase,
    NotApplicable,
    call,
    close,
    explained,
    fail_unless,
    leaves,
    prepared,
)
from losskit.testing.checks import all_checks, check
from losskit.text import one_line

_SUMMARY_LENGTH = 100  # a line of `losskit list`
_CITATION = re.compile(r"\b(1[89]|20)\d\d\b|arXiv:|doi:|https://")


@check("spec")
def check_spec(case: LossCase) -> None:
    """Listings, docs and citations are made from the spec: without it a loss cannot be found or credited."""
    spec = case.spec
    fail_unless(
        bool(spec.summary.strip()), f"{case.name} has no summary", "give its LossSpec one line"
    )
    fail_unless(
        len(spec.summary) <= _SUMMARY_LENGTH,
        f"the summary of {case.name} has {len(spec.summary)} characters",
        f"say it in at most {_SUMMARY_LENGTH}; the docstring has room for the rest",
    )
    fail_unless(
        bool(_CITATION.search(spec.paper)),
        f"the paper of {case.name} is {spec.paper!r}, which nobody can find",
        "give LossSpec.paper a citation with its year and arXiv number, DOI or address",
    )
    fail_unless(
        bool(spec.tags), f"{case.name} has no tags", "add some, as ('image', 'pixel'), to filter by"
    )


@check("options-by-name")
def check_options_by_name(case: LossCase) -> None:
    """The second argument is a range to one loss and a window to another: by name, neither is mistaken."""
    if not inspect.isclass(case.target):
        raise NotApplicable("the options of a function are always given by name")
    by_place = [
        name
        for name, parameter in list(constructor_parameters(case.target).items())[1:]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and not is_required(parameter)
    ]
    fail_unless(
        not by_place,
        f"{case.name} takes {', '.join(by_place)} by position",
        "put a `*` before them in the constructor",
    )


@check("target")
def check_target(case: LossCase) -> None:
    """The target is imported only when somebody makes the loss: a typo in it would show only then."""
    with explained(f"importing {case.spec.target!r}", "name an existing 'module:attribute'"):
        target = case.target
    fail_unless(
        callable(target) and (not inspect.isclass(target) or issubclass(target, nn.Module)),
        f"{case.spec.target!r} is {target!r:.80}",
        "name an nn.Module class or a function that returns a tensor",
    )


@check("example")
def check_example(case: LossCase) -> None:
    """The kit, the docs and the benchmarks run on the example: it must say what it is asked for."""
    with explained("making the example", "let the factory run without network, files or a GPU"):
        example = case.example()
    fail_unless(
        isinstance(example, Example),
        f"{case.spec.example!r} returned {type(example).__name__}",
        "return losskit.Example(...)",
    )
    for role in ("grad", "frozen"):
        for name in getattr(example, role):
            fail_unless(
                name in example.inputs,
                f"Example.{role} names {name!r}, which is none of the inputs "
                f"({', '.join(example.inputs)})",
                "name inputs",
            )
    for name, value in example.inputs.items():
        for leaf in leaves(value):
            if not isinstance(leaf, Tensor):
                continue
            fail_unless(
                leaf.device.type == "cpu" and leaf.dtype != torch.float64,
                f"input {name!r} is {leaf.dtype} on {leaf.device}",
                "give float32 tensors on the CPU; the kit moves them",
            )
            fail_unless(
                not leaf.is_floating_point() or bool(torch.isfinite(leaf).all()),
                f"input {name!r} has values that are not finite",
                "give ordinary values",
            )
    for name, reason in example.expected_failures.items():
        known = [item.id for item in all_checks()]
        fail_unless(
            name in known and bool(reason.strip()),
            f"Example.expected_failures has {name!r}: {reason!r}",
            f"name a check ({', '.join(known)}) and the reason",
        )
    one = case.example(batch=1)
    fail_unless(
        _batches(one) != _batches(example),
        "the factory ignores batch",
        "make `batch` samples, of `height` by `width` where inputs are images",
    )


def _batches(example: Example) -> list[Any]:
    """Collect the inputs that can show the batch size: shapes and numbers."""
    return [
        tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf
        for leaf in leaves(dict(example.inputs))
        if isinstance(leaf, (Tensor, int))
    ]


@check("inputs")
def check_inputs(case: LossCase) -> None:
    """``data_info`` routes by the names of the call's arguments: the example's must be those."""
    example = case.example()
    with explained("making the loss with the example's arguments", "mend either"):
        loss = case.loss(example)
    parameters = input_parameters(loss)
    open_ended = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())
    fail_unless(
        not open_ended,
        f"the call of {case.name} takes {', '.join(map(str, parameters.values()))}",
        "name every argument: *args and **kwargs swallow typos and cannot be routed",
    )
    for name in example.inputs:
        fail_unless(
            name in parameters,
            f"the example's input {name!r} is no argument of the call, "
            f"which takes {', '.join(parameters)}",
            "use one name in the example, in forward and in its docstring",
        )
    for name, parameter in parameters.items():
        fail_unless(
            name in example.inputs or parameter.default is not parameter.empty,
            f"the call needs {name!r}, which the example does not give",
            "add it to Example.inputs, or give the argument a default",
        )


@check("typos")
def check_typos(case: LossCase) -> None:
    """A misspelt option that is swallowed trains the wrong loss for days."""
    arguments = {**case.example().arguments, "no_such_option": 1}
    try:
        build({"type": case.name, **arguments})
    except ConfigError as error:
        fail_unless(
            "no_such_option" in str(error),
            f"an unknown option is refused with {one_line(error)!r}, which does not name it",
            "name the option in the message",
        )
        return
    fail_unless(
        False,
        f"{case.name} accepts the option 'no_such_option'",
        "name every option in the constructor's signature instead of **kwargs",
    )


@check("config")
def check_config(case: LossCase) -> None:
    """A loss is used from configs: built from YAML and fed a dict it must give the value of a plain call."""
    example = case.example()
    expected = call(case.loss(example), prepared(example))
    config = {
        "type": case.name,
        **example.arguments,
        "data_info": {name: f"out_{name}" for name in example.inputs},
    }
    with contextlib.suppress(yaml.YAMLError):  # a network among the arguments: Python only
        config = yaml.safe_load(yaml.safe_dump(config))
    with explained("building the loss from a config", "take plain values in the constructor"):
        torch.manual_seed(SEED)
        term = build(config)
    if term.self_routed:
        raise NotApplicable("the loss does its own routing")
    outputs = {f"out_{name}": value for name, value in prepared(example).items()}
    with explained("calling the term with a dict of outputs", "take inputs by keyword"):
        value = call(term, {"outputs_dict": outputs})
    fail_unless(
        isinstance(value, Tensor) and close(value, expected),
        f"built from a config it gives {value}, called directly {expected}",
        "let the constructor keep tuples and lists alike, and seed random weights",
    )
