"""No loss takes a number that makes it NaN: each numeric option of each is tried."""

from __future__ import annotations

import inspect
import math

import pytest

import losskit
from losskit.discovery.targets import resolve_target
from losskit.testing.case import LossCase, call


def numeric_options() -> list[tuple[str, str]]:
    found = []
    for spec in losskit.list_losses():
        if spec.namespace == "local":  # what pages registered in this process
            continue
        target = resolve_target(spec.target)
        for name, parameter in inspect.signature(target).parameters.items():
            default = parameter.default
            if isinstance(default, (int, float)) and not isinstance(default, bool):
                found.append((spec.qualified_name, name))
    return found


#: Half the squared error everywhere.
MEANT = {("core/HuberLoss", "delta", math.inf)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("loss", "option"), numeric_options())
def test_numbers_that_are_not_finite_are_refused(loss: str, option: str, value: float) -> None:
    if (loss, option, value) in MEANT:
        pytest.skip("this one means something")
    case = LossCase(loss)
    with pytest.raises((ValueError, TypeError), match=option):
        call(case.loss(case.example(), **{option: value}), case.example().inputs)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("FocalFrequencyLoss", {"alpha": -1.0}),
        ("FocalFrequencyLoss", {"patch_factor": 0}),
        ("LaplacianPyramidLoss", {"base": -1.0}),
        ("PerceptualLoss", {"perceptual_weight": -1.0, "weights": "random"}),
        ("GradientPenaltyLoss", {"center": -1.0}),
        ("BalancedConsistencyLoss", {"real_weight": -1.0}),
    ],
)
def test_numbers_of_the_wrong_sign_are_refused(loss: str, options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        losskit.create(loss, **options)
