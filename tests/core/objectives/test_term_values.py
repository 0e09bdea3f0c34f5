"""What a term is worth at a step: the call, gradient_norms and the report give one answer."""

from __future__ import annotations

import copy
import random
from collections import defaultdict

import pytest
import torch

import losskit
from losskit.objectives.balance import report

pytestmark = pytest.mark.usefixtures("core_only")


class Averaging(losskit.Loss):
    """Compares with a running mean that each training call moves, as LeCam does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.calls = 0

    def forward(self, pred):
        if self.training:
            self.calls += 1
            with torch.no_grad():
                self.mean.lerp_(pred.detach().mean(), 0.3)
        return (pred - self.mean).square().mean() * (1 + self.calls)

    def get_extra_state(self):
        return torch.tensor(self.calls)

    def set_extra_state(self, state):
        self.calls = int(state)


class OwnRoutes(losskit.Loss):
    """Takes all outputs, as the MMagic guide's classes do."""

    def forward(self, outputs_dict):
        return (outputs_dict["pred"] - 2).square().mean()


def random_objective(seed: int) -> losskit.Objective:
    draw = random.Random(seed)
    adaptive = losskit.AdaptiveWeight("loss_reference", "pred", scale=0.25)
    terms = [
        losskit.Term(
            losskit.create("L1Loss"),
            loss_name="loss_reference",
            schedule=losskit.Schedule(interval=draw.choice((1, 2, 3))),
        )
    ]
    for _ in range(draw.randint(1, 5)):
        kind = draw.choice(("MSELoss", "averaging", "own", "CharbonnierLoss", "monitored"))
        loss = {"averaging": Averaging, "own": OwnRoutes}.get(
            kind, lambda kind=kind: losskit.create("MSELoss" if kind == "monitored" else kind)
        )()
        schedule = losskit.Schedule(
            interval=draw.choice((1, 1, 2)),
            scale_by_interval=draw.random() < 0.5,
            start=draw.choice((0, 0, 3)),
            stop=draw.choice((None, 9)),
            ramp=draw.choice((0, 6)),
            shape=draw.choice(("linear", "cosine")),
        )
        terms.append(
            losskit.Term(
                loss,
                loss_weight=draw.choice((0.5, 3.0, adaptive)) if kind != "own" else 1.0,
                loss_name=draw.choice(("loss_one", "loss_two")),
                schedule=schedule,
                monitor=kind == "monitored",
                self_routed=kind == "own",
            )
        )
    return losskit.Objective(terms)


def state_of(objective: losskit.Objective) -> dict[str, torch.Tensor]:
    return copy.deepcopy({**objective.state_dict(), **dict(objective.named_buffers())})


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("given", [True, False], ids=["given", "counted"])
def test_all_three_agree(seed: int, given: bool) -> None:
    objective = random_objective(seed)
    torch.manual_seed(seed)
    for step in range(12):
        outputs = {
            "pred": torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True),
            "target": torch.rand(2, 3, 4, 4, dtype=torch.float64),
            **({"iteration": step} if given else {}),
        }
        looked = copy.deepcopy(objective)
        looked.iteration = step + 1  # a look without an iteration is at the last step made
        before = state_of(looked)
        norms = looked.gradient_norms(outputs, wrt="pred")
        terms = report(looked, [outputs]).terms if norms else ()
        with looked.look(outputs) as values:
            parts = [v for term, named in values if not term.monitor for v in named.values()]
            seen = torch.autograd.grad(sum(parts), outputs["pred"]) if parts else None
        torch.testing.assert_close(state_of(looked), before, rtol=0, atol=0)

        total, logs = objective(outputs)
        if seen is not None:
            torch.testing.assert_close(torch.autograd.grad(total, outputs["pred"]), seen)
        sums, lengths = defaultdict(float), defaultdict(list)
        for term in terms:
            name = term.name.partition("[")[0]
            sums[name] += term.value
            lengths[name].append(term.norm)
        monitored = {t.name for t in objective.terms if t.monitor}
        for name, value in logs.items():
            if name not in monitored:
                assert sums[name] == pytest.approx(float(value))
            if name in norms and len(lengths[name]) == 1:
                assert lengths[name][0] == pytest.approx(float(norms[name]), rel=1e-5)


def test_an_error_about_an_argument_says_which_term_it_came_from() -> None:
    objective = losskit.Objective([{"type": "L1Loss", "loss_name": "loss_edges"}])
    with pytest.raises(ValueError, match="one shape") as caught:
        objective(pred=torch.rand(1, 3, 8, 8), target=torch.rand(1, 3, 9, 8))
    assert caught.value.__notes__ == ["This is of the term loss_edges (L1Loss)."]
