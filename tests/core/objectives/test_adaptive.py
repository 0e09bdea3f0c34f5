"""The adaptive weight against its closed form."""

from __future__ import annotations

import pytest
import torch

import losskit
from losskit.errors import ConfigError, MissingOutputError

pytestmark = pytest.mark.usefixtures("core_only")


def config(**adaptive) -> dict:
    return {
        "type": "MSELoss",
        "data_info": {"pred": "pred", "target": "other"},
        "loss_weight": {"adaptive": {"reference": "loss_l1", "wrt": "last_layer", **adaptive}},
    }


def outputs() -> dict:
    last_layer = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    pred = last_layer * torch.ones(1, 1, dtype=torch.float64)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    return {"pred": pred, "target": zero, "other": zero, "last_layer": last_layer}


# L1 = |w·1| has slope 1 at w = 2; MSE = w² = 4 has slope 4. The weight is scale·1/(4 + eps).
@pytest.mark.parametrize(
    ("adaptive", "weight"),
    [({}, 1 / 4.0001), ({"scale": 0.8}, 0.8 / 4.0001), ({"eps": 1.0}, 0.2), ({"max": 0.1}, 0.1)],
)
def test_closed_form(adaptive, weight) -> None:
    out = outputs()
    result = losskit.Objective([{"type": "L1Loss"}, config(**adaptive)])(out)
    assert result.logs["loss_mse"].item() == pytest.approx(4 * weight, rel=1e-6)
    (gradient,) = torch.autograd.grad(result.total, out["last_layer"])
    assert gradient.item() == pytest.approx(1 + 4 * weight, rel=1e-6)  # none through the weight


def test_gradients_are_balanced_at_the_layer() -> None:
    out = outputs()
    objective = losskit.Objective([{"type": "L1Loss", "loss_weight": 7.0}, config(eps=0.0)])
    norms = objective.gradient_norms(out, wrt="last_layer")
    assert norms["loss_mse"].item() == pytest.approx(norms["loss_l1"].item())


def test_evaluation_and_a_reference_off_its_interval_leave_the_scale() -> None:
    objective = losskit.Objective([{"type": "L1Loss", "interval": 2}, config(scale=0.5)])
    assert objective({**outputs(), "iteration": 1}).logs["loss_mse"].item() == pytest.approx(2)
    with torch.no_grad():
        out = outputs()
        assert objective({**out, "iteration": 0}).logs["loss_mse"].item() == pytest.approx(2)


def test_the_order_of_terms_does_not_matter() -> None:
    terms = [{"type": "L1Loss"}, config()]
    assert (
        losskit.Objective(terms)(outputs()).total == losskit.Objective(terms[::-1])(outputs()).total
    )


def test_a_term_alone_has_no_reference() -> None:
    with pytest.raises(ConfigError, match=r"loss_mse has an adaptive loss_weight.*in an Objective"):
        losskit.build(config())(outputs())


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"adaptve": {}}, "loss_weight must be a number or"),
        ({"adaptive": 3}, "loss_weight must be a number or"),
        ({"adaptive": {"refrence": "loss_l1"}}, "no key 'refrence'; did you mean 'reference'"),
        ({"adaptive": {"wrt": "w"}}, "loss_weight.adaptive needs 'reference', a name"),
        ({"adaptive": {"reference": "loss_l1"}}, "loss_weight.adaptive needs 'wrt', a name"),
        (
            {"adaptive": {"reference": "a", "wrt": "b", "scale": "x"}},
            "loss_weight.adaptive.scale must be a number of at least 0, not 'x'",
        ),
        ({"adaptive": {"reference": "a", "wrt": "b", "max": -1}}, "adaptive.max must be a number"),
    ],
)
def test_bad_configs(weight, message) -> None:
    with pytest.raises(ConfigError, match=message):
        losskit.build({"type": "MSELoss", "loss_weight": weight})


def test_a_reference_that_is_no_other_term() -> None:
    with pytest.raises(ConfigError, match=r"refers to 'loss_l1', which is no other term.*loss_mse"):
        losskit.Objective([config()])
    with pytest.raises(ConfigError, match="no other term"):
        losskit.Objective([config(reference="loss_mse")])


def test_a_layer_that_is_not_there_or_takes_no_gradient() -> None:
    objective = losskit.Objective([{"type": "L1Loss"}, config()])
    out = outputs()
    with pytest.raises(MissingOutputError, match=r"loss_mse needs outputs\['last_layer'\]"):
        objective({k: v for k, v in out.items() if k != "last_layer"})
    with pytest.raises(
        ConfigError, match=r"outputs\['last_layer'\] must be a tensor with requires"
    ):
        objective({**out, "last_layer": torch.ones(1)})
