"""When a term counts and how much."""

from __future__ import annotations

import math

import pytest
import torch

import losskit
from losskit.errors import ConfigError
from losskit.objectives.schedule import Schedule

pytestmark = pytest.mark.usefixtures("core_only")


@pytest.mark.parametrize(
    ("config", "factors"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"interval": 2}, [1, 0, 1, 0, 1, 0]),
        ({"interval": 3, "scale_by_interval": True}, [3, 0, 0, 3, 0, 0]),
        ({"start": 2}, [0, 0, 1, 1, 1, 1]),
        ({"stop": 2}, [1, 1, 0, 0, 0, 0]),
        ({"start": 1, "stop": 3}, [0, 1, 1, 0, 0, 0]),
        ({"ramp": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        ({"start": 2, "ramp": 2}, [0, 0, 0.5, 1, 1, 1]),
        ({"start": 1, "interval": 2, "ramp": 4}, [0, 0, 0.5, 0, 1, 0]),
        (
            {"ramp": {"steps": 2, "shape": "cosine"}},
            [(1 - math.cos(math.pi / 2)) / 2, 1, 1, 1, 1, 1],
        ),
        ({"ramp": {"steps": 2}}, [0.5, 1, 1, 1, 1, 1]),
    ],
)
def test_factors(config, factors) -> None:
    schedule = Schedule.from_config(**config)
    assert [schedule.factor(i) for i in range(6)] == pytest.approx(factors)
    assert schedule.is_constant == (config == {})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"interval": 0}, "interval must be a whole number of at least 1, not 0"),
        ({"interval": 1.5}, "interval must be a whole number"),
        ({"interval": True}, "interval must be a whole number"),
        ({"start": -1}, "start must be a whole number of at least 0, not -1"),
        ({"ramp": "long"}, "ramp must be a whole number of at least 0, not 'long'"),
        ({"stop": 0}, r"stop must be a whole number above start \(0\), not 0"),
        ({"start": 5, "stop": 5}, r"stop must be a whole number above start \(5\), not 5"),
        ({"stop": True}, "stop must be a whole number"),
        ({"scale_by_interval": 1}, "scale_by_interval must be true or false, not 1"),
        ({"ramp": {"step": 3}}, "ramp takes 'steps' and 'shape', not 'step'"),
        (
            {"ramp": {"steps": 3, "shape": "cosin"}},
            r"ramp shape must be one of linear, cosine, not 'cosin'; did you mean 'cosine'\?",
        ),
    ],
)
def test_errors(config, message) -> None:
    with pytest.raises(ConfigError, match=message):
        losskit.build({"type": "L1Loss", **config})


def outputs(iteration: int | None = None) -> dict:
    given = {"pred": torch.ones(2, 2, requires_grad=True), "target": torch.zeros(2, 2)}
    return given if iteration is None else {**given, "iteration": iteration}


def test_a_term_alone_follows_the_outputs_iteration() -> None:
    term = losskit.build(
        {"type": "L1Loss", "interval": 2, "loss_weight": 3, "scale_by_interval": True}
    )
    assert [term(outputs(i)) is None for i in range(4)] == [False, True, False, True]
    assert term(outputs(2)).item() == 6
    assert term(outputs()).item() == 3  # no iteration, no schedule
    assert term(*outputs().values()).item() == 3


def test_an_objective_follows_the_outputs_iteration() -> None:
    objective = losskit.Objective(
        [{"type": "L1Loss"}, {"type": "MSELoss", "loss_weight": 2.0, "start": 1, "ramp": 2}]
    )
    totals = [objective(outputs(i)).total.item() for i in range(4)]
    assert totals == pytest.approx([1, 2, 3, 3])
    assert "loss_mse" not in objective(outputs(0)).logs


def test_an_objective_counts_its_own_training_steps() -> None:
    objective = losskit.Objective([{"type": "L1Loss", "interval": 2}])
    assert [bool(objective(outputs()).logs) for _ in range(4)] == [True, False, True, False]
    objective.eval()
    assert [bool(objective(outputs()).logs) for _ in range(3)] == [True] * 3
    objective.train()
    assert [bool(objective(outputs()).logs) for _ in range(2)] == [True, False]


def test_a_step_without_any_term_gives_a_zero_that_backward_accepts() -> None:
    objective = losskit.Objective([{"type": "L1Loss", "start": 10}])
    result = objective(outputs(0))
    assert result.total.item() == 0
    assert result.logs == {}
    result.total.backward()
