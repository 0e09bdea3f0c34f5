"""Every loss shows the options that differ from their defaults, in a form to paste, and no others."""

from __future__ import annotations

import ast
import inspect
from typing import Any, Literal, get_args, get_origin

import pytest
from torch import nn

import losskit
from losskit.errors import LosskitError
from losskit.signatures import is_required, loss_signature
from losskit.testing.case import LossCase

SPECS = {s.qualified_name: s for s in losskit.list_losses() if s.namespace != "local"}


def options_of(loss: str) -> dict[str, inspect.Parameter]:
    return loss_signature(SPECS[loss])["arguments"]


def other_values(parameter: inspect.Parameter) -> list[Any]:
    """Values to try instead of the default, of the types that the option takes."""
    kinds = [parameter.annotation, *get_args(parameter.annotation)]
    literals = [v for kind in kinds if get_origin(kind) is Literal for v in get_args(kind)]
    base = 0 if parameter.default in (None, parameter.empty) else parameter.default
    if literals:
        found = literals
    elif bool in kinds:
        found = [False, True]
    elif int in kinds:
        found = [base + 1, base + 2]
    elif float in kinds and isinstance(base, (int, float)):
        found = [base / 2 or 0.5, base + 0.25]
    else:
        found = []
    return [value for value in found if value != parameter.default]


VARIED = [
    (loss, option)
    for loss in SPECS
    for option, parameter in options_of(loss).items()
    if other_values(parameter)
]


def shown(loss: nn.Module) -> list[tuple[str, Any]]:
    """The options of a loss's ``repr``, read as Python; networks by the names of their types."""
    call = ast.parse(f"f({loss.extra_repr()})", mode="eval").body
    assert isinstance(call, ast.Call)
    assert not call.args
    return [
        (str(k.arg), k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value))
        for k in call.keywords
    ]


def expected(loss: str, given: dict[str, Any]) -> list[tuple[str, Any]]:
    """What differs from the defaults, in the signature's order."""
    return [
        (name, type(given[name]).__name__ if isinstance(given[name], nn.Module) else given[name])
        for name, parameter in options_of(loss).items()
        if name in given and given[name] != parameter.default
    ]


@pytest.mark.parametrize("loss", SPECS)
def test_defaults_are_not_shown(loss: str) -> None:
    case = LossCase(loss)
    given = dict(case.example().arguments)
    required = {n: given[n] for n, p in options_of(loss).items() if is_required(p)}
    # Without __init__, which may need weights.
    assert shown(case.target.__new__(case.target, **required)) == expected(loss, required)

    defaults = {n: p.default for n, p in options_of(loss).items() if not is_required(p)}
    for arguments in (given, {**defaults, **given}):
        assert shown(losskit.create(loss, **arguments)) == expected(loss, given)


#: What some options need beside them.
TOGETHER = {
    ("gan/GANLoss", "real_label_val"): {"gan_type": "lsgan"},
    ("gan/GANLoss", "fake_label_val"): {"gan_type": "lsgan"},
    ("gan/RelativisticGANLoss", "real_label_val"): {"kind": "ragan"},
    ("gan/RelativisticGANLoss", "fake_label_val"): {"kind": "ragan"},
    ("perceptual/PerceptualLoss", "data_range"): {"norm_img": None},
}


@pytest.mark.parametrize(("loss", "option"), VARIED)
def test_another_value_is_shown(loss: str, option: str) -> None:
    given = {**LossCase(loss).example().arguments, **TOGETHER.get((loss, option), {})}
    refusals = []
    for value in other_values(options_of(loss)[option]):
        arguments = {**given, option: value}
        try:
            created = losskit.create(loss, **arguments)
        except (LosskitError, ValueError) as error:
            refusals.append(error)
            continue
        assert shown(created) == expected(loss, arguments)
        return
    pytest.fail(f"no other value is taken: {refusals}")
