"""Routing, weights and names of a loss in an objective."""

from __future__ import annotations

import copy
import enum
import pickle
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

import losskit
from losskit.errors import ConfigError, MissingOutputError

pytestmark = pytest.mark.usefixtures("core_only")

ONE, TWO = torch.tensor([1.0]), torch.tensor([3.0])
OUTPUTS = {"fake_imgs": ONE, "real_imgs": TWO, "pred": torch.tensor([10.0]), "batch_size": 4}


class Recorder(losskit.Loss):
    """Keeps what it was called with."""

    def forward(
        self, pred: Tensor, target: Tensor, flag: bool = False, *, extra: float = 0.0
    ) -> Tensor:
        self.call = {"pred": pred, "target": target, "flag": flag, "extra": extra}
        return (pred - target).abs().sum()


def l1(**config) -> losskit.Term:
    return losskit.build({"type": "L1Loss", **config})


def test_tensors_pass_straight_through() -> None:
    term = l1(loss_weight=0.5)
    assert term(ONE, TWO).item() == 1.0
    assert term(pred=ONE, target=TWO).item() == 1.0
    assert term(ONE, target=TWO).item() == 1.0
    assert term(ONE, TWO, weight=2.0).item() == 2.0


def test_a_mapping_is_routed() -> None:
    term = l1(data_info={"pred": "fake_imgs", "target": "real_imgs"}, loss_weight=0.5)
    assert term(OUTPUTS).item() == 1.0
    assert term(outputs_dict=OUTPUTS).item() == 1.0
    assert term(OUTPUTS, weight=2.0).item() == 2.0


def test_required_arguments_come_by_their_own_names() -> None:
    assert l1()({"pred": ONE, "target": TWO}).item() == 2.0
    assert l1(data_info={"target": "real_imgs"})(OUTPUTS).item() == 7.0


def test_optional_arguments_come_only_when_routed() -> None:
    outputs = {"pred": ONE, "target": TWO, "weight": torch.zeros(1)}
    assert l1()(outputs).item() == 2.0
    assert l1(data_info={"weight": "weight"})(outputs).item() == 0.0


def test_constants() -> None:
    loss = Recorder()
    data_info = {"pred": "fake_imgs", "target": "real_imgs", "flag": True, "extra": 2}
    losskit.Term(loss, data_info=data_info)(OUTPUTS)
    assert loss.call["flag"] is True
    assert loss.call["extra"] == 2


def test_other_mappings_than_dicts() -> None:
    class Batch(dict):
        pass

    assert l1()(Batch(pred=ONE, target=TWO)).item() == 2.0


@pytest.mark.parametrize("form", [lambda o: ((o,), {}), lambda o: ((), {"outputs_dict": o})])
def test_a_missing_key_lists_those_there_are(form) -> None:
    term = l1(data_info={"pred": "fake_img", "target": "real_imgs"})
    args, kwargs = form(OUTPUTS)
    with pytest.raises(MissingOutputError) as error:
        term(*args, **kwargs)
    assert str(error.value) == (
        "loss_l1 (L1Loss) needs outputs['fake_img'] for its argument 'pred'; did you mean "
        "'fake_imgs'?; the outputs are fake_imgs, real_imgs, pred, batch_size"
    )


def test_empty_outputs() -> None:
    with pytest.raises(MissingOutputError, match="the outputs are empty"):
        l1()({})


def test_an_argument_the_loss_does_not_have() -> None:
    with pytest.raises(ConfigError) as error:
        l1(data_info={"prd": "fake_imgs"})
    assert str(error.value) == (
        "data_info of L1Loss names 'prd', which is not an argument of its call; did you mean "
        "'pred'?; it takes pred, target, weight"
    )


@pytest.mark.parametrize("value", ["pred", ["pred"], 3])
def test_data_info_must_be_a_mapping(value) -> None:
    with pytest.raises(ConfigError, match="data_info of L1Loss must map its arguments to output"):
        l1(data_info=value)


def test_mmagics_argument_names() -> None:
    term = losskit.build({"type": "PSNRLoss", "data_info": {"x": "fake_imgs", "gt": "real_imgs"}})
    assert term.data_info == {"pred": "fake_imgs", "target": "real_imgs"}
    images = torch.rand(2, 1, 3, 4, 4).unbind()
    assert torch.equal(term(x=images[0], gt=images[1]), term(*images))


def test_one_mapping_and_nothing_else() -> None:
    with pytest.raises(TypeError, match="one mapping of outputs or tensors, not both"):
        l1()(OUTPUTS, ONE)
    with pytest.raises(TypeError, match="outputs_dict allows no other positional argument"):
        l1()(ONE, outputs_dict=OUTPUTS)


def test_too_many_tensors() -> None:
    with pytest.raises(TypeError, match="positional"):
        l1()(ONE, TWO, None, ONE)


def test_keyword_only_arguments_are_not_filled_by_position() -> None:
    with pytest.raises(TypeError, match="positional"):
        losskit.Term(Recorder())(ONE, TWO, True, 3.0)


@pytest.mark.parametrize(
    ("config", "name", "monitor"),
    [
        ({}, "loss_l1", False),
        ({"loss_name": "pixel"}, "pixel", True),
        ({"loss_name": "pixel", "monitor": False}, "pixel", False),
        ({"monitor": True}, "loss_l1", True),
        ({"loss_name": "my_loss_of_pixels"}, "my_loss_of_pixels", False),
    ],
)
def test_the_name_says_whether_it_is_optimised(config, name, monitor) -> None:
    term = l1(**config)
    assert (term.name, term.monitor) == (name, monitor)


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("DiscShiftLoss", "loss_disc_shift"),
        ("R1GradientPenalty", "loss_r1_gradient_penalty"),
        ("LPIPS", "loss_lpips"),
        ("CLIPLoss", "loss_clip"),
        ("PSNRLoss", "loss_psnr"),
        ("loss", "loss"),
    ],
)
def test_names_made_from_the_class(class_name, expected) -> None:
    cls = type(class_name, (nn.Module,), {"forward": lambda self, pred: pred})
    assert losskit.Term(cls()).name == expected


def test_a_class_says_its_own_name() -> None:
    class A(losskit.Loss):
        loss_name = "loss_of_a"

        def forward(self, pred):
            return pred

    class B(nn.Module):
        @staticmethod
        def loss_name():
            return "loss_of_b"

        def forward(self, pred):
            return pred

    assert losskit.Term(A()).name == "loss_of_a"
    assert losskit.Term(B()).name == "loss_of_b"
    assert losskit.Term(B(), loss_name="loss_x").name == "loss_x"


def test_a_loss_may_say_when_its_weight_counts() -> None:
    class ForOnePlayer(losskit.Loss):
        def forward(self, pred, is_disc=False):
            return pred.sum()

        def weigh(self, value, weight, is_disc=False, **inputs):
            return value if is_disc else value * weight

    term = losskit.Term(ForOnePlayer(), loss_weight=10.0)
    assert term(ONE).item() == 10
    assert term(ONE, is_disc=True).item() == 1
    routed = losskit.Term(ForOnePlayer(), loss_weight=10.0, data_info={"is_disc": True})
    assert routed({"pred": ONE}).item() == 1


def test_a_loss_with_any_arguments_needs_routes() -> None:
    class Anything(nn.Module):
        def forward(self, *args, **kwargs):
            return sum([*args, *kwargs.values()])

    assert losskit.Term(Anything())(ONE, TWO).item() == 4
    assert losskit.Term(Anything(), data_info={"a": "fake_imgs"})(OUTPUTS).item() == 1
    with pytest.raises(ConfigError, match="takes any arguments: say with data_info"):
        losskit.Term(Anything())(OUTPUTS)


def test_copies_and_pickles() -> None:
    term = l1(loss_weight=0.5, data_info={"pred": "fake_imgs", "target": "real_imgs"})
    for other in (copy.deepcopy(term), pickle.loads(pickle.dumps(term))):
        assert other(OUTPUTS).item() == 1.0
        assert other.loss is not term.loss


def test_repr() -> None:
    text = repr(l1(loss_weight=0.5, monitor=True, data_info={"pred": "a", "target": "b"}))
    assert "loss_l1, loss_weight=0.5, data_info={'pred': 'a', 'target': 'b'}, monitor=True" in text


class Legacy(nn.Module):
    """The MMagic guide's form, in our own words: it routes and weighs for itself."""

    def __init__(self, loss_weight=1.0, data_info=None, interval=1):
        super().__init__()
        self.loss_weight, self.data_info, self.interval = loss_weight, data_info, interval

    def forward(self, *args, **kwargs):
        if self.data_info is None:
            return args[0].square().mean() * self.loss_weight
        outputs = args[0] if args else kwargs.pop("outputs_dict")
        if outputs.get("iteration", 0) % self.interval:
            return None
        return outputs[self.data_info["pred"]].square().mean() * self.loss_weight

    @staticmethod
    def loss_name():
        return "loss_legacy"


class TestLegacy:
    @pytest.fixture(autouse=True)
    def _register(self, core_only) -> None:
        losskit.register()(Legacy)

    def config(self, **more) -> dict:
        return {"type": "Legacy", "loss_weight": 0.5, "data_info": {"pred": "x"}, **more}

    def test_by_call(self) -> None:
        term = losskit.build(self.config())
        assert term({"x": torch.tensor([2.0])}).item() == 2.0
        assert term(outputs_dict={"x": torch.tensor([2.0])}).item() == 2.0
        assert (
            losskit.build({"type": "Legacy", "loss_weight": 0.5})(torch.tensor([2.0])).item() == 2
        )

    def test_in_an_objective(self) -> None:
        objective = losskit.Objective([self.config(), {"type": "L1Loss"}])
        x = torch.tensor([2.0], requires_grad=True)
        result = objective(x=x, pred=x, target=torch.zeros(1))
        assert {k: v.item() for k, v in result.logs.items()} == {"loss_legacy": 2, "loss_l1": 2}
        result.total.backward()
        assert x.grad.item() == 3.0  # ½·2x + 1

    def test_its_own_interval(self) -> None:
        objective = losskit.Objective([self.config(interval=2)])
        logs = [objective(x=torch.ones(1), iteration=i).logs for i in range(3)]
        assert [list(log) for log in logs] == [["loss_legacy"], [], ["loss_legacy"]]
        assert losskit.build(self.config(interval=2))({"x": torch.ones(1), "iteration": 1}) is None

    def test_the_terms_schedule_counts_too(self) -> None:
        objective = losskit.Objective([self.config(start=1, ramp=2)])
        values = [objective(x=torch.ones(1), iteration=i).total.item() for i in range(4)]
        assert values == [0, 0.25, 0.5, 0.5]
        term = losskit.build(self.config(start=1, ramp=2))
        outputs = {"x": torch.ones(1), "iteration": 1}
        assert term(outputs).item() == 0.25

    def test_monitored(self) -> None:
        objective = losskit.Objective([self.config(monitor=True)])
        result = objective(x=torch.ones(1, requires_grad=True))
        assert result.total.item() == 0
        assert result.logs["loss_legacy"].item() == 0.5

    def test_a_class_that_takes_only_the_weight_is_routed(self) -> None:
        @losskit.register()
        class Weighted(nn.Module):
            def __init__(self, loss_weight=1.0):
                super().__init__()
                self.loss_weight = loss_weight

            def forward(self, pred, target, weight=None, **kwargs):
                return self.loss_weight * (pred - target).abs().mean()

        config = {"type": "Weighted", "loss_weight": 3.0}
        assert losskit.build(config)(ONE, TWO).item() == 6  # not 18: the weight counts once
        routed = {**config, "data_info": {"pred": "fake_imgs", "target": "real_imgs"}}
        assert losskit.build(routed)(OUTPUTS).item() == 6
        assert losskit.Objective([routed])(OUTPUTS).total.item() == 6


class Optioned(losskit.Loss):
    def __init__(self, scale=1.0, *, net=None, names=("a",), **more) -> None:
        super().__init__()

    def forward(self, pred):
        return pred.mean()


class Handing(Optioned):
    def __init__(self, factor=1.0, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)


class Fixed(Optioned):
    def __init__(self) -> None:
        super().__init__(5.0, names=("z",))


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        (Optioned, "Optioned()"),
        (lambda: Optioned(1.0, names=("a",)), "Optioned()"),
        (lambda: Optioned(2.0, net=torch.nn.ReLU()), "Optioned(scale=2.0, net=ReLU)"),
        (lambda: Optioned(names=("b",), odd=3), "Optioned(names=('b',), odd=3)"),
        (lambda: Optioned(1, names=["a"]), "Optioned()"),
        (lambda: Optioned(names=(torch.ones(2, 3), None)), "Optioned(names=(Tensor(2, 3), None))"),
        (lambda: Optioned(net=torch.relu), "Optioned(net=relu)"),
        (lambda: Optioned(net=torch.float16), "Optioned(net=torch.float16)"),
        (lambda: Optioned(net=Path("a/b.pth")), "Optioned(net='a/b.pth')"),
        (lambda: Optioned(net=Colour.RED), "Optioned(net=Colour.RED)"),
        (lambda: Optioned(net=MappingProxyType({"a": 1})), "Optioned(net={'a': 1})"),
        (lambda: Handing(2.0, 3.0, net="n"), "Handing(factor=2.0, scale=3.0, net='n')"),
        (lambda: Handing(1.0, 1.0, net=None, odd=3), "Handing(odd=3)"),
        (Fixed, "Fixed()"),
    ],
)
def test_a_loss_shows_the_options_that_were_changed(loss, shown) -> None:
    made = loss()
    assert repr(made) == shown
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert repr(copied) == shown


def test_a_loss_made_in_compiled_code() -> None:
    def made_there(pred: Tensor) -> Tensor:
        return Optioned(2.0)(pred)

    assert torch.compile(made_there, backend="eager", fullgraph=True)(ONE).item() == 1
