"""One surface for every official loss: the same options under the same names, given by name."""

from __future__ import annotations

import inspect

import pytest

import losskit
from losskit.discovery.targets import resolve_target
from losskit.signatures import constructor_parameters, is_required

SPECS = [spec for spec in losskit.list_losses() if spec.namespace != "local"]
#: MMagic's classes take these first, and a CLIP loss is its text.
FIRST = {"gan_type", "loss_type", "layer_weights", "prompts"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.qualified_name)
def test_options_are_given_by_name(spec: losskit.LossSpec) -> None:
    parameters = constructor_parameters(resolve_target(spec.target))
    by_place = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and not is_required(parameter)
    ]
    assert set(by_place) <= FIRST


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.qualified_name)
def test_every_loss_takes_a_reduction(spec: losskit.LossSpec) -> None:
    if spec.name == "MaxGradientPenalty":
        pytest.skip("it is the largest of a batch")
    reduction = constructor_parameters(resolve_target(spec.target))["reduction"]
    assert reduction.default == "mean"
