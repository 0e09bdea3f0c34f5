"""Terms in, one total and its logs out."""

from __future__ import annotations

import copy
import functools
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from processes import imported_by
from torch import nn
from torch._dynamo.testing import CompileCounter

import losskit
from losskit.errors import ConfigError, MissingOutputError, NonFiniteError, NonFiniteWarning

pytestmark = pytest.mark.usefixtures("core_only")

NAN = float("nan")


def outputs(dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    return {
        "pred": torch.rand(2, 3, 4, 4, dtype=dtype, requires_grad=True),
        "target": torch.rand(2, 3, 4, 4, dtype=dtype),
    }


class Parts(losskit.Loss):
    """A loss of two parts."""

    def components(self, pred, target):
        return {"near": (pred - target).abs().mean(), "far": (pred - target).square().sum()}


class Broken(losskit.Loss):
    """Not a number where ``bad`` is set."""

    def __init__(self, value: float = NAN) -> None:
        super().__init__()
        self.value = value

    def forward(self, pred):
        return pred.mean() * self.value


def test_the_total_is_the_weighted_sum() -> None:
    out = outputs()
    objective = losskit.Objective(
        [{"type": "L1Loss", "loss_weight": 0.5}, {"type": "MSELoss", "loss_weight": 2.0}]
    )
    result = objective(out)
    difference = out["pred"] - out["target"]
    expected = 0.5 * difference.abs().mean() + 2 * difference.square().mean()
    torch.testing.assert_close(result.total, expected)
    (ours,) = torch.autograd.grad(result.total, out["pred"])
    (theirs,) = torch.autograd.grad(expected, out["pred"])
    torch.testing.assert_close(ours, theirs)
    assert list(result.logs) == ["loss_l1", "loss_mse"]
    torch.testing.assert_close(result.logs["loss_l1"], 0.5 * difference.abs().mean().detach())
    assert not any(value.requires_grad for value in result.logs.values())


def test_keywords_and_mapping_are_one() -> None:
    out = outputs()
    objective = losskit.Objective([{"type": "L1Loss"}])
    assert objective(**out).total == objective(out).total
    assert objective({"pred": out["pred"]}, target=out["target"]).total == objective(out).total


def test_terms_of_one_name_add_up() -> None:
    out = outputs()
    objective = losskit.Objective(
        [{"type": "L1Loss", "loss_name": "loss_x"}, {"type": "MSELoss", "loss_name": "loss_x"}]
    )
    result = objective(out)
    assert list(result.logs) == ["loss_x"]
    torch.testing.assert_close(result.logs["loss_x"], result.total.detach())


def test_monitored_terms_are_logged_only() -> None:
    out = outputs()
    objective = losskit.Objective([{"type": "L1Loss"}, {"type": "PSNRLoss", "loss_name": "psnr"}])
    result = objective(out)
    assert set(result.logs) == {"loss_l1", "psnr"}
    assert result.total == result.logs["loss_l1"]


def test_a_monitored_term_alone_gives_a_zero_that_backward_accepts() -> None:
    result = losskit.Objective([{"type": "L1Loss", "monitor": True}])(outputs())
    result.total.backward()
    assert result.total == 0


def test_components_are_logged_apart() -> None:
    out = outputs()
    result = losskit.Objective([losskit.Term(Parts(), loss_weight=0.5)])(out)
    assert list(result.logs) == ["loss_parts.near", "loss_parts.far"]
    difference = (out["pred"] - out["target"]).detach()
    torch.testing.assert_close(result.logs["loss_parts.far"], 0.5 * difference.square().sum())
    torch.testing.assert_close(result.total.detach(), sum(result.logs.values()))
    assert losskit.Term(Parts(), loss_weight=0.5)(out) == result.total  # forward is their sum


def test_the_sum_of_parts_needs_no_forward() -> None:
    out = outputs()
    torch.testing.assert_close(Parts()(**out), sum(Parts().components(**out).values()))
    with pytest.raises(NotImplementedError, match="Loss has no components"):
        losskit.Loss().components()


@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf")])
class TestNonFinite:
    def objective(self, value, on_nonfinite) -> losskit.Objective:
        terms = [{"type": "L1Loss"}, losskit.Term(Broken(value)), {"type": "MSELoss"}]
        return losskit.Objective(terms, on_nonfinite=on_nonfinite)

    def test_raise_names_the_term(self, value) -> None:
        objective = self.objective(value, "raise")
        with pytest.raises(NonFiniteError, match=r"^loss_broken is NaN or infinite; look at that"):
            objective(outputs())
        with pytest.raises(NonFiniteError, match="loss_broken"):  # nothing is left over
            objective(outputs())

    def test_warn_goes_on(self, value) -> None:
        with pytest.warns(NonFiniteWarning, match="loss_broken is NaN or infinite"):
            result = self.objective(value, "warn")(outputs())
        assert not torch.isfinite(result.total)

    def test_skip_leaves_it_out(self, value) -> None:
        out = outputs()
        result = self.objective(value, "skip")(out)
        plain = losskit.Objective([{"type": "L1Loss"}, {"type": "MSELoss"}])(out)
        assert result.total == plain.total
        assert not torch.isfinite(result.logs["loss_broken"])  # seen, not optimised
        result.total.backward()
        assert bool(torch.isfinite(out["pred"].grad).all())

    def test_ignore(self, value) -> None:
        assert not torch.isfinite(self.objective(value, "ignore")(outputs()).total)

    def test_a_monitored_term_is_watched_too(self, value) -> None:
        objective = losskit.Objective([losskit.Term(Broken(value), loss_name="bad")])
        with pytest.raises(NonFiniteError, match="bad is NaN"):
            objective(outputs())


def test_skip_keeps_the_healthy_term_of_the_same_name() -> None:
    terms = [{"type": "L1Loss", "loss_name": "loss_x"}, losskit.Term(Broken(), loss_name="loss_x")]
    out = outputs()
    result = losskit.Objective(terms, on_nonfinite="skip")(out)
    assert result.total == (out["pred"] - out["target"]).abs().mean()


def test_several_are_named() -> None:
    terms = [losskit.Term(Broken(), loss_name=f"loss_{c}") for c in "ab"]
    with pytest.raises(NonFiniteError, match="loss_a, loss_b are NaN"):
        losskit.Objective(terms)(outputs())


def test_an_unreduced_loss() -> None:
    objective = losskit.Objective([{"type": "L1Loss", "reduction": "none"}])
    with pytest.raises(
        ConfigError, match=r"loss_l1 \(L1Loss\) has shape \(2, 3, 4, 4\).*reduction"
    ):
        objective(outputs())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losskit.Objective([]), "an objective needs at least one term"),
        (lambda: losskit.Objective({"type": "L1Loss"}), "a list of terms, not one dict"),
        (lambda: losskit.Objective("L1Loss"), "a list of terms, not one str"),
        (
            lambda: losskit.Objective([{"type": "L1Loss"}], on_nonfinite="rais"),
            r"on_nonfinite must be one of raise, warn, skip, ignore, not 'rais'; did you mean 'raise'",
        ),
        (lambda: losskit.Objective([3]), "a term's config must be a mapping with 'type', not 3"),
    ],
)
def test_errors(make, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_missing_output() -> None:
    with pytest.raises(MissingOutputError, match=r"needs outputs\['target'\]"):
        losskit.Objective([{"type": "L1Loss"}])(pred=torch.ones(1))


class TestGradientNorms:
    def test_against_autograd(self) -> None:
        out = outputs()
        objective = losskit.Objective([{"type": "L1Loss", "loss_weight": 3.0}, {"type": "MSELoss"}])
        norms = objective.gradient_norms(out, wrt="pred")
        count = out["pred"].numel()
        assert norms["loss_l1"].item() == pytest.approx(3 / count**0.5)  # each ±3/n
        difference = (out["pred"] - out["target"]).detach()
        assert norms["loss_mse"].item() == pytest.approx((2 * difference / count).norm().item())

    def test_terms_of_one_name_cancel_as_they_do_in_the_total(self) -> None:
        out = outputs()
        both = [
            {"type": "L1Loss", "loss_name": "loss_x", "loss_weight": 1.0},
            {"type": "L1Loss", "loss_name": "loss_x", "loss_weight": -1.0},
        ]
        assert losskit.Objective(both).gradient_norms(out, wrt="pred")["loss_x"] == 0

    def test_by_parameters(self) -> None:
        net, used = nn.Linear(3, 3), torch.rand(4, 3)
        out = {"pred": net(used), "target": torch.rand(4, 3)}
        objective = losskit.Objective([{"type": "MSELoss"}])
        norm = objective.gradient_norms(out, wrt=net.parameters())["loss_mse"]
        objective(out).total.backward()
        expected = sum(p.grad.square().sum() for p in net.parameters()) ** 0.5
        torch.testing.assert_close(norm, expected)

    def test_components_monitors_and_strangers(self) -> None:
        out = {**outputs(), "other": torch.rand(2, requires_grad=True)}
        terms = [
            losskit.Term(Parts()),
            {"type": "PSNRLoss", "monitor": True},
            losskit.Term(Broken(1.0), data_info={"pred": "other"}),
        ]
        norms = losskit.Objective(terms).gradient_norms(out, wrt="pred")
        assert set(norms) == {"loss_parts.near", "loss_parts.far", "loss_broken"}
        assert norms["loss_broken"] == 0

    def test_leaves_gradients_and_iteration_alone(self) -> None:
        out = outputs()
        objective = losskit.Objective([{"type": "L1Loss", "interval": 2}])
        assert objective.gradient_norms(out, wrt=out["pred"])
        assert out["pred"].grad is None
        assert objective(out).logs  # still at iteration 0

    def test_half_precision_does_not_overflow(self) -> None:
        pred = torch.full((4,), 1.0, dtype=torch.float16, requires_grad=True)
        objective = losskit.Objective([losskit.Term(Broken(4000.0))])
        norm = objective.gradient_norms({"pred": pred}, wrt="pred")["loss_broken"]
        assert norm.item() == pytest.approx(2000, rel=1e-3)

    def test_errors(self) -> None:
        objective = losskit.Objective([{"type": "L1Loss"}])
        with pytest.raises(MissingOutputError, match="wrt='prd' is not among the outputs; did you"):
            objective.gradient_norms(outputs(), wrt="prd")
        with pytest.raises(ValueError, match="wrt must be tensors with requires_grad=True"):
            objective.gradient_norms(outputs(), wrt="target")
        with pytest.raises(ValueError, match="wrt must be tensors"):
            objective.gradient_norms(outputs(), wrt=[])


def scheduled() -> losskit.Objective:
    return losskit.Objective([{"type": "L1Loss"}, {"type": "MSELoss", "start": 2, "ramp": 4}])


def compiled_l1() -> tuple[losskit.Objective, Callable[..., Any], CompileCounter]:
    """An objective, the same compiled to one graph, and what counts the graphs."""
    torch._dynamo.reset()
    objective, counter = losskit.Objective([{"type": "L1Loss"}]), CompileCounter()
    return objective, torch.compile(objective, fullgraph=True, backend=counter), counter


class TestState:
    def test_is_the_step_count_alone(self) -> None:
        objective = scheduled()
        assert dict(objective.state_dict()) == {"_extra_state": torch.tensor(0)}
        assert not list(objective.parameters())

    @pytest.mark.parametrize("terms", [[{"type": "L1Loss"}], [{"type": "L1Loss", "start": 2}]])
    def test_counts_training_steps_with_a_schedule_or_without(self, terms) -> None:
        objective = losskit.Objective(terms)
        for _ in range(3):
            objective(outputs())
        with torch.no_grad():
            objective.eval()(outputs())
        assert objective.iteration == 3
        objective.train()({**outputs(), "iteration": 10})  # a given iteration sets it
        assert objective.state_dict()["_extra_state"] == 11

    def test_a_term_added_at_a_resume_starts_where_training_stands(self) -> None:
        before = losskit.Objective([{"type": "L1Loss"}])
        for _ in range(5):
            before(outputs())
        after = losskit.Objective([{"type": "L1Loss"}, {"type": "MSELoss", "start": 5}])
        after.load_state_dict(before.state_dict())
        assert "loss_mse" in after(outputs()).logs

    def test_an_older_dict_state_still_loads(self) -> None:
        objective = scheduled()
        objective.load_state_dict({"_extra_state": {"iteration": 7}})
        assert objective.iteration == 7

    def test_resumes_exactly_through_a_file(self) -> None:
        out, objective = outputs(), scheduled()
        for _ in range(3):
            objective(out)
        file = io.BytesIO()
        torch.save(objective.state_dict(), file)
        file.seek(0)
        other = scheduled()
        other.load_state_dict(torch.load(file, weights_only=True))
        for _ in range(4):
            assert torch.equal(other(out).total, objective(out).total)

    def test_copies_and_pickles_go_on_where_it_stood(self) -> None:
        out, objective = outputs(), scheduled()
        for _ in range(3):
            objective(out)
        copies = [copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))]
        expected = [objective(out).total for _ in range(3)]
        for other in copies:
            assert [other(out).total for _ in range(3)] == expected

    def test_a_copy_does_not_share_the_original(self) -> None:
        objective = losskit.Objective([losskit.Term(Parts())])
        other = copy.deepcopy(objective)
        assert other.terms[0].loss is not objective.terms[0].loss

    def test_to_moves_a_losss_buffers(self) -> None:
        class Buffered(losskit.Loss):
            def __init__(self):
                super().__init__()
                self.register_buffer("mean", torch.ones(1))

            def forward(self, pred):
                return (pred - self.mean).abs().mean()

        objective = losskit.Objective([losskit.Term(Buffered())]).to(torch.float64)
        assert objective.terms[0].loss.mean.dtype == torch.float64
        assert set(objective.state_dict()) == {"terms.0.loss.mean", "_extra_state"}
        assert objective(outputs()).total.dtype == torch.float64


class TestCompile:
    def objective(self) -> losskit.Objective:
        names = ("L1Loss", "MSELoss", "HuberLoss", "CharbonnierLoss", "GradientLoss", "PSNRLoss")
        terms = [{"type": name} for name in names]
        terms.append({"type": "MaskedTVLoss", "data_info": {"pred": "pred", "mask": "mask"}})
        terms.append({"type": "L1Loss", "loss_name": "l1", "reduction": "sum"})
        return losskit.Objective(terms)

    def test_without_a_graph_break(self) -> None:
        torch._dynamo.reset()
        objective = self.objective()
        compiled = torch.compile(objective, fullgraph=True, backend="aot_eager")
        for _ in range(2):
            out = {**outputs(), "mask": torch.rand(2, 1, 4, 4, dtype=torch.float64)}
            expected, result = objective(out), compiled(out)
            torch.testing.assert_close(result.total, expected.total)
            torch.testing.assert_close(result.logs, expected.logs)
            (ours,) = torch.autograd.grad(result.total, out["pred"])
            (theirs,) = torch.autograd.grad(expected.total, out["pred"])
            torch.testing.assert_close(ours, theirs)

    #: The sets of terms that count together, over the steps: with the interval's term or without,
    #: before and after the ramp's first step.
    SETS = 4
    TERMS: ClassVar = [
        {"type": "L1Loss"},
        {"type": "MSELoss", "start": 2, "ramp": 40},
        {"type": "HuberLoss", "interval": 3, "scale_by_interval": True},
    ]

    # Of PyTorch's compiler, where a tensor in a graph crosses a graph break.
    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
    @pytest.mark.parametrize("given", [False, True])
    @pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a step"])
    def test_one_graph_for_each_set_of_terms(self, given: bool, inside: bool) -> None:
        torch._dynamo.reset()
        objective, eager = losskit.Objective(self.TERMS), losskit.Objective(self.TERMS)
        counter = CompileCounter()
        compiled = objective if inside else torch.compile(objective, backend=counter)

        def step(pred, target, more):
            return compiled({"pred": pred * 1, "target": target, **more})

        run = torch.compile(step, backend=counter) if inside else step
        out = outputs()
        for i in range(1000):
            more = {"iteration": i} if given else {}
            expected = eager({**out, **more}).total
            torch.testing.assert_close(run(out["pred"], out["target"], more).total, expected)
            if i == 100:
                frames = counter.frame_count
        # `pred * 1`, before the objective, is one graph more.
        assert counter.frame_count == frames <= self.SETS + inside
        assert objective.iteration == 1000

    def test_schedules_in_one_graph_compile_a_few_times(self) -> None:
        torch._dynamo.reset()
        objective = scheduled()
        counter = CompileCounter()
        compiled = torch.compile(objective, fullgraph=True, backend=counter)
        out = outputs()
        for i in range(12):
            expected = objective({**out, "iteration": i}).total
            torch.testing.assert_close(compiled({**out, "iteration": i}).total, expected)
        assert counter.frame_count <= 4  # two sets of terms; 0 and 1 are compiled for themselves

    def test_one_graph_cannot_count(self) -> None:
        torch._dynamo.reset()
        compiled = torch.compile(scheduled(), fullgraph=True, backend="eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match="cannot count its steps under"):
            compiled(outputs())

    def test_counts_in_one_graph_without_compiling_again(self) -> None:
        objective, compiled, counter = compiled_l1()
        for _ in range(20):
            compiled(outputs())
        assert counter.frame_count == 1
        assert objective.state_dict()["_extra_state"] == 20


class TestPlainLosses:
    def test_modules_and_functions_are_terms(self) -> None:
        out = outputs()
        pred, target = out["pred"], out["target"]
        objective = losskit.Objective(
            [
                torch.nn.L1Loss(),
                torch.nn.functional.mse_loss,
                functools.partial(torch.nn.functional.smooth_l1_loss, beta=0.5),
                lambda pred, target: (pred - target).abs().max(),
                {"type": "torch.nn.HuberLoss", "delta": 0.1, "loss_weight": 2.0},
            ]
        )
        logs = objective({**out, "input": torch.zeros(3)}).logs  # a model's input is not its output
        expected = {
            "loss_l1": (pred - target).abs().mean(),
            "loss_mse": (pred - target).square().mean(),
            "loss_smooth_l1": torch.nn.functional.smooth_l1_loss(pred, target, beta=0.5),
            "loss_lambda": (pred - target).abs().max(),
            "loss_huber": 2 * torch.nn.functional.huber_loss(pred, target, delta=0.1),
        }
        torch.testing.assert_close(logs, {k: v.detach() for k, v in expected.items()})

    def test_data_info_may_call_the_prediction_either_name(self) -> None:
        out = outputs()
        for name in ("pred", "input"):
            term = losskit.build({"type": "torch.nn.L1Loss", "data_info": {name: "target"}})
            assert term({"target": out["target"]}) == 0
        assert losskit.Term(torch.nn.L1Loss())(pred=out["pred"], target=out["pred"]) == 0

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (torch.nn.L1Loss, r"L1Loss is a class: give an instance, L1Loss\(...\)"),
            (torch.dist, "dist does not tell its arguments"),
        ],
    )
    def test_what_is_no_loss(self, loss, message) -> None:
        with pytest.raises(ConfigError, match=message):
            losskit.Objective([loss])

    @pytest.mark.parametrize("name", ["torch.nn.Linear", "torch.load", "torch.nn.SmothL1Loss"])
    def test_nothing_else_of_torch_is_reached(self, name: str) -> None:
        with pytest.raises(losskit.LosskitError, match=f"no loss is called '{name}'"):
            losskit.build({"type": name})


def test_no_warning_and_no_gradient_in_evaluation() -> None:
    objective = losskit.Objective([{"type": "L1Loss"}]).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not objective(outputs()).total.requires_grad


def test_objectives_do_without_the_compiler() -> None:
    """Importing it takes seconds, which those who never compile would wait for."""
    code = (
        "import losskit, torch\n"
        "objective = losskit.Objective([dict(type='L1Loss'), dict(type='MSELoss', start=1)])\n"
        "objective(pred=torch.ones(2), target=torch.zeros(2))"
    )
    assert imported_by(code, "torch._dynamo") == []


def test_what_is_on_its_way_from_a_device_is_waited_for(monkeypatch) -> None:
    class Event:
        waited = False

        def synchronize(self) -> None:
            self.waited = True

    event = Event()
    monkeypatch.setattr("losskit.objectives.nonfinite._on_its_way", lambda finite: (finite, event))
    with pytest.raises(NonFiniteError, match="loss_broken is NaN"):
        losskit.Objective([losskit.Term(Broken())])(outputs())
    assert event.waited


def test_the_count_goes_on_between_compiled_and_plain_steps() -> None:
    objective, compiled, counter = compiled_l1()
    for _ in range(3):
        compiled(outputs())
    objective(outputs())
    assert objective.iteration == 4
    for _ in range(3):
        compiled(outputs())
    assert objective.iteration == 7
    objective({**outputs(), "iteration": 20})  # a given iteration sets the whole count
    assert objective.iteration == 21
    compiled(outputs())
    assert objective.state_dict()["_extra_state"] == 22
    assert counter.frame_count == 1


def test_a_compiled_run_is_gone_on_with_at_its_step() -> None:
    torch._dynamo.reset()
    terms = [{"type": "L1Loss"}, {"type": "MSELoss", "start": 5}]
    objective = losskit.Objective(terms)
    compiled = torch.compile(objective, fullgraph=True, backend="eager")
    for i in range(5):
        compiled({**outputs(), "iteration": i})
    assert "loss_mse" in objective(outputs()).logs
