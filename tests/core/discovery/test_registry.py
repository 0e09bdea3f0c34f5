"""Find losses by name and make them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import losskit
from losskit import mmagic
from losskit.discovery import registry
from losskit.errors import AmbiguousLossError, ConfigError, UnknownLossError
from losskit.losses.base import FunctionLoss

pytestmark = pytest.mark.usefixtures("core_only")

ONE, TWO = torch.tensor([1.0]), torch.tensor([3.0])


def test_lists() -> None:
    names = {spec.name for spec in losskit.list_losses()}
    assert {"L1Loss", "MSELoss", "HuberLoss", "CharbonnierLoss", "MaskedTVLoss"} <= names
    assert {spec.name for spec in losskit.list_losses(tag="matting")} == {
        "L1CompositionLoss", "MSECompositionLoss", "CharbonnierCompLoss",
    }  # fmt: skip
    assert losskit.list_losses(tag="nothing") == []
    assert losskit.list_losses(plugin="gan") == []
    assert losskit.list_losses(plugin="core") == losskit.list_losses()


@pytest.mark.parametrize(
    "name",
    ["MSELoss", "core/MSELoss", "L2Loss", "core/L2Loss", "mmagic.MSELoss", "mmagic.models.losses.MSELoss"],
)  # fmt: skip
def test_names_of_one_loss(name) -> None:
    assert losskit.get_spec(name).qualified_name == "core/MSELoss"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("L1Los", "no loss is called 'L1Los'; did you mean 'L1Loss'?"),
        ("l1loss", "did you mean 'L1Loss'?"),
        ("core/GANLoss", "no loss is called 'core/GANLoss'"),
        ("Quux", "no loss is called 'Quux'; see `losskit list`"),
    ],
)
def test_unknown_names(name, message) -> None:
    with pytest.raises(UnknownLossError) as error:
        losskit.get_spec(name)
    assert message in str(error.value)
    assert isinstance(error.value, KeyError)


class TestUninstalled:
    @pytest.fixture(autouse=True)
    def _nothing_but_the_core(self, core_only, monkeypatch) -> None:
        alone = [item for item in registry._plugins() if item.record.name == "core"]
        monkeypatch.setattr(registry, "_state", alone)

    @pytest.mark.parametrize("name", ["GANLoss", "GANLossComps", "mmagic.models.GANLoss"])
    def test_an_official_loss_says_what_to_install(self, name) -> None:
        with pytest.raises(UnknownLossError, match=r"pip install losskit-gan$"):
            losskit.build({"type": name})

    def test_a_misspelt_one_too(self) -> None:
        with pytest.raises(
            UnknownLossError, match=r"did you mean 'DiscShiftLoss'.*pip install losskit-"
        ):
            losskit.build({"type": "DiscShiftLos"})


class TestCreate:
    def test_the_bare_module(self) -> None:
        loss = losskit.create("CharbonnierLoss", eps=1e-3)
        assert isinstance(loss, nn.Module)
        assert not isinstance(loss, losskit.Term)
        assert "eps=0.001" in repr(loss)

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("L1Loss", {"reducton": "sum"}, "L1Loss has no argument 'reducton'; did you mean 'reduction'?"),
            ("MaskedTVLoss", {"eps": 1}, "MaskedTVLoss has no argument 'eps'; it takes reduction, sample_wise"),
            ("L1Loss", {"loss_weight": 2}, "'loss_weight' belongs to a term, not to L1Loss itself: use losskit.build"),
            ("CharbonnierLoss", {"eps": -1}, "CharbonnierLoss: eps must be positive, not -1"),
            ("L1Loss", {"reduction": "avg"}, "L1Loss: reduction must be one of mean, sum, none"),
        ],
    )  # fmt: skip
    def test_errors(self, name, arguments, message) -> None:
        with pytest.raises(ConfigError) as error:
            losskit.create(name, **arguments)
        assert message in str(error.value)
        assert isinstance(error.value, ValueError)
        assert "\n" not in str(error.value)


class TestBuild:
    def test_a_term_passes_through(self) -> None:
        term = losskit.build({"type": "L1Loss"})
        assert losskit.build(term) is term

    def test_the_config_is_not_changed(self) -> None:
        config = {"type": "L1Loss", "loss_weight": 2.0, "data_info": {"pred": "a"}, "interval": 2}
        before = {**config, "data_info": dict(config["data_info"])}
        losskit.build(config)
        losskit.build(config)
        assert config == before

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            (None, "a term's config must be a mapping with 'type', not None"),
            ("L1Loss", "a term's config must be a mapping with 'type', not 'L1Loss'"),
            ({}, "a term's config needs 'type', a loss's name; it has nothing"),
            ({"typ": "L1Loss"}, "a term's config needs 'type', a loss's name; it has typ"),
            ({"type": 3}, "a loss's type must be a name, not 3"),
            ({"type": "L1Loss", "loss_weigth": 2}, "no argument 'loss_weigth'; did you mean 'loss_weight'?"),
            ({"type": "L1Loss", "loss_weight": "1"}, "loss_weight of L1Loss must be a number, not '1'"),
            ({"type": "L1Loss", "loss_weight": True}, "loss_weight of L1Loss must be a number, not True"),
            ({"type": "L1Loss", "loss_weight": None}, "loss_weight of L1Loss must be a number, not None"),
            ({"type": "L1Loss", "loss_name": 3}, "loss_name of L1Loss must be a name, not 3"),
            ({"type": "L1Loss", "monitor": "yes"}, "monitor of L1Loss must be true or false, not 'yes'"),
            ({"type": "L1Loss", "sample_wize": 1}, "did you mean 'sample_wise'?; it takes reduction, sample_wise"),
        ],
    )  # fmt: skip
    def test_errors(self, config, message) -> None:
        with pytest.raises(ConfigError) as error:
            losskit.build(config)
        assert message in str(error.value)


class TestRegister:
    def test_a_class(self) -> None:
        @losskit.register(summary="Doubled.", tags=("toy",), aliases=("Twice",))
        class Doubled(losskit.Loss):
            def __init__(self, factor: float = 2.0) -> None:
                super().__init__()
                self.factor = factor

            def forward(self, pred):
                return self.factor * pred.mean()

        assert losskit.build({"type": "Doubled"})(ONE).item() == 2
        assert losskit.build({"type": "local/Twice", "factor": 3.0})(ONE).item() == 3
        (spec,) = losskit.list_losses(tag="toy")
        assert (spec.qualified_name, spec.summary) == ("local/Doubled", "Doubled.")

    def test_a_function_and_its_options(self) -> None:
        @losskit.register("scaled_l1")
        def anything(pred, target, scale=1.0):
            return scale * (pred - target).abs().mean()

        term = losskit.build({"type": "scaled_l1", "scale": 3.0})
        assert isinstance(term.loss, FunctionLoss)
        assert term(ONE, TWO).item() == 6
        assert term({"pred": ONE, "target": TWO}).item() == 6
        assert repr(term.loss) == "FunctionLoss(anything, scale=3.0)"
        default = losskit.build({"type": "scaled_l1", "scale": 1.0}).loss
        assert repr(default) == "FunctionLoss(anything)"
        with pytest.raises(ConfigError, match="no argument 'scal'; did you mean 'scale'"):
            losskit.build({"type": "scaled_l1", "scal": 3.0})

    def test_without_parentheses(self) -> None:
        @losskit.register
        def plain(pred):
            return pred.mean()

        assert losskit.create("plain")(ONE).item() == 1

    def test_a_cell_run_again_replaces_its_own(self) -> None:
        losskit.register("again")(lambda pred: pred.mean())
        losskit.register("again")(lambda pred: 2 * pred.mean())
        assert losskit.create("again")(ONE).item() == 2

    def test_a_plugins_name_is_not_overridden_in_silence(self) -> None:
        @losskit.register("L1Loss")
        class Mine(losskit.Loss):
            def forward(self, pred):
                return pred.mean()

        with pytest.raises(
            AmbiguousLossError, match=r"core/L1Loss \(losskit .*local/L1Loss \(regis"
        ):
            losskit.create("L1Loss")
        assert losskit.create("local/L1Loss")(ONE).item() == 1
        assert losskit.create("core/L1Loss")(ONE, TWO).item() == 2

    def test_any_module_will_do(self) -> None:
        losskit.register("Plain")(torch.nn.SmoothL1Loss)
        term = losskit.build(
            {"type": "Plain", "beta": 0.5, "data_info": {"input": "x", "target": "y"}}
        )
        assert term({"x": ONE, "y": TWO}).item() == 1.75

    def test_function_loss_refuses_unknown_options(self) -> None:
        with pytest.raises(TypeError, match=r"has no argument 'scale'; it takes pred"):
            FunctionLoss(lambda pred: pred, scale=1)


def test_a_deprecated_loss_says_so(monkeypatch) -> None:
    spec = losskit.LossSpec("Old", "losskit.losses.pixel:L1Loss", deprecated="use L1Loss")
    monkeypatch.setattr(registry, "_all_losses", lambda: [spec])
    with pytest.warns(FutureWarning, match="Old is deprecated: use L1Loss"):
        losskit.create("Old")


def test_a_target_that_is_not_there_names_it(monkeypatch) -> None:
    spec = losskit.LossSpec("Lost", "losskit.nowhere:Lost")
    monkeypatch.setattr(registry, "_all_losses", lambda: [spec])
    with pytest.raises(losskit.errors.PluginError, match=r"cannot load 'losskit.nowhere:Lost'"):
        losskit.create("Lost")


class TestCompat:
    @pytest.mark.parametrize(("theirs", "ours"), mmagic.TYPE_ALIASES.items())
    def test_types(self, theirs, ours) -> None:
        assert mmagic.loss_type(theirs) == ours
        assert mmagic.loss_type(f"mmagic.models.losses.{theirs}") == ours

    def test_what_a_loss_takes_itself_is_left_alone(self) -> None:
        given = {"pretrained": "a", "use_apex_amp": True}
        assert mmagic.constructor_arguments("PerceptualLoss", given, ["weights"]) == {
            "weights": "a"
        }
        assert mmagic.constructor_arguments("PerceptualLoss", given, [*given]) == given
        assert mmagic.input_name("PSNRLoss", "x", ["pred"]) == "pred"
        assert mmagic.input_name("PSNRLoss", "x", ["x"]) == "x"
        assert mmagic.input_name("L1Loss", "x", ["pred"]) == "x"


def test_the_table_of_official_losses_is_what_the_plugins_supply() -> None:
    losskit.refresh()  # the installed plugins this time
    supplied = {
        record.distribution: record.losses for record in losskit.plugins() if record.name != "core"
    }
    for distribution, losses in registry.OFFICIAL_LOSSES.items():
        if distribution not in supplied:
            pytest.skip(f"{distribution} is not installed")
        assert sorted(losses) == sorted(supplied[distribution])
