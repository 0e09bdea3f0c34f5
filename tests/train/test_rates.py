"""Learning rates: torch's own schedulers step by step, our three by their formulas."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from losskit.errors import ConfigError
from losskit_train.config.rates import SCHEDULERS, LearningRates
from losskit_train.config.sections import OptimizerConfig
from losskit_train.config.training import load_train_config

BASE = {"discriminator": 0.4, "generator": 0.1}
ARGUMENTS = {
    "ConstantLR": {"factor": 0.5, "total_iters": 3},
    "CosineAnnealingLR": {"T_max": 7, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.2, "total_iters": 5},
    "MultiStepLR": {"milestones": [2, 5], "gamma": 0.5},
    "PolynomialLR": {"total_iters": 9, "power": 2.0},
    "StepLR": {"step_size": 4, "gamma": 0.3},
}


def rates(schedule, *, warmup=0, steps=12):
    return LearningRates(OptimizerConfig(schedule=schedule, warmup=warmup), BASE, steps)


def of_torch(kind, steps):
    """What a plain loop uses: an update, then a step of the scheduler."""
    weights = {player: torch.zeros(1, requires_grad=True) for player in BASE}
    groups = [{"params": [weights[player]], "lr": rate} for player, rate in BASE.items()]
    optimizer = torch.optim.Adam(groups)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **ARGUMENTS[kind])
    for _ in range(steps):
        yield {p: g["lr"] for p, g in zip(BASE, optimizer.param_groups, strict=True)}
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_torchs_schedulers_as_in_a_plain_loop(kind):
    ours = rates({"type": kind, **ARGUMENTS[kind]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [ours.at(step) for step in range(12)]
    for mine, theirs in zip(found, of_torch(kind, 12), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)
    assert ours.at(3) == found[3]  # back again
    again = rates({"type": kind, **ARGUMENTS[kind]})
    assert again.at(11) == found[11]  # at once, as a resumed run does


def test_own_schedules_and_warmup():
    for step in range(12):
        cosine = (1 + math.cos(math.pi * step / 12)) / 2
        assert rates("cosine").at(step)["generator"] == pytest.approx(0.1 * cosine)
        assert rates("linear").at(step)["generator"] == pytest.approx(0.1 * (1 - step / 12))
        assert rates("constant").at(step) == BASE
    warm = rates({"type": "StepLR", "step_size": 3, "gamma": 0.5}, warmup=4)
    found = [warm.at(step)["discriminator"] for step in range(7)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.2, 0.2, 0.2, 0.1])
    assert rates("cosine", warmup=4, steps=4).at(3) == BASE


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"type": "MultiStep"}, "did you mean 'MultiStepLR'"),
        ({"type": "OneCycleLR"}, "must be one of ConstantLR"),
        ({"milestones": [1]}, "schedule.type must be one of"),
        ({"type": "StepLR"}, "StepLR: .*step_size"),
        ({"type": "StepLR", "step": 3}, "no argument 'step'; did you mean 'step_size'"),
        ({"type": "StepLR", "step_size": 3, "last_epoch": 5}, "no argument 'last_epoch'"),
        ({"type": "StepLR", "step_size": 0}, "optimizer.schedule: StepLR: "),
        ({"type": "StepLR", "step_size": "x"}, "optimizer.schedule: StepLR: "),
        ("cosin", "one of constant, cosine, linear or a mapping, .*did you mean 'cosine'"),
    ],
)
def test_what_is_no_schedule_is_one_line(schedule, message):
    config = {"model": {"generator": {"type": "x"}}, "data": {"images": "x"}}
    with pytest.raises(ConfigError, match=message) as caught:
        load_train_config({**config, "optimizer": {"schedule": schedule}})
    assert "\n" not in str(caught.value)
