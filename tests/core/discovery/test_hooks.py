"""Every hook is documented, shown in the guide, and works: a hook without all three fails here."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import losskit
from losskit import hookspecs
from losskit.cli import main
from losskit.discovery import loading
from losskit.testing import PluginSandbox, losskit_plugins  # noqa: F401 - a fixture

GUIDE = Path(__file__).parents[3] / "docs" / "authoring.md"
HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("losskit_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_docstring(hook: str) -> None:
    assert len(inspect.getdoc(getattr(hookspecs, hook)) or "") > 30


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_section_of_the_guide_with_an_implementation_that_is_run(hook: str) -> None:
    sections = re.split(r"^#{2,3} ", GUIDE.read_text(), flags=re.M)
    (section,) = [text for text in sections if text.startswith(f"`{hook}`\n")]
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", section, re.S) if "@hookimpl" in b]
    assert f"def {hook}(" in block


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_tested_below(hook: str) -> None:
    assert f"test_{hook}" in globals(), f"write test_{hook} in this file"


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_called_by_discovery_and_by_the_kit(hook: str) -> None:
    assert hook in loading.HOOKS


def test_the_contract_fits_on_one_screen() -> None:
    assert len(inspect.getsource(hookspecs).splitlines()) <= 50


@pytest.fixture
def install(losskit_plugins: PluginSandbox) -> Callable[..., None]:  # noqa: F811
    return losskit_plugins.install


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An importable module, ``hook_targets``, for what a spec is to find."""
    module = ModuleType("hook_targets")
    monkeypatch.setitem(sys.modules, "hook_targets", module)
    return module


def test_losskit_losses(install: Callable[..., None]) -> None:
    spec = losskit.LossSpec("MineLoss", "losskit.losses.pixel:L1Loss", tags=("mine",))
    install("mine", losses=[spec])
    (found,) = losskit.list_losses(tag="mine")
    assert found.qualified_name == "mine/MineLoss"
    assert type(losskit.create("MineLoss")).__name__ == "L1Loss"


def test_losskit_weights(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = "https://example.org/net.pth"
    install("mine", weights=[losskit.WeightsSpec("net", url, "0" * 64, "MIT", 10)])
    (found,) = losskit.list_weights()
    assert (found.name, found.namespace) == ("net", "mine")
    assert main(["weights", "list"]) == 0
    assert "net" in capsys.readouterr().out


def configure(parser) -> None:
    parser.add_argument("word")
    parser.set_defaults(run=lambda arguments: sys.stdout.write(f"{arguments.word.upper()}\n") and 0)


def test_losskit_commands(
    install: Callable[..., None], targets: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    targets.configure = configure  # type: ignore[attr-defined]
    target = "hook_targets:configure"
    install("mine", commands=[losskit.CommandSpec(n, target, "Shout.") for n in ("shout", "list")])
    assert main(["shout", "hello"]) == 0
    assert capsys.readouterr().out == "HELLO\n"
    assert main([]) == 0
    assert "Shout. (mine)" in capsys.readouterr().out
    assert main(["list", "--plugin", "core"]) == 0  # a built-in name is not replaced
    assert "L1Loss" in capsys.readouterr().out


def test_losskit_presets(
    install: Callable[..., None], targets: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    targets.plain = lambda weight=1.0: {"terms": [{"type": "L1Loss", "loss_weight": weight}]}  # type: ignore[attr-defined]
    install("mine", presets=[losskit.PresetSpec("plain", "hook_targets:plain", "L1 alone.")])
    assert main(["presets", "mine/plain", "weight=3"]) == 0
    assert "loss_weight: 3" in capsys.readouterr().out
    assert main(["presets", "plain", "wieght=3"]) == 1
    assert "did you mean 'weight'" in capsys.readouterr().err


def test_losskit_backbones(install: Callable[..., None], targets: ModuleType) -> None:
    from losskit.backbones import FeatureNetwork
    from losskit.backbones.families import BackboneRecipe, backbone_recipe

    targets.recipe = lambda name, weights: BackboneRecipe(FeatureNetwork, (name, weights))  # type: ignore[attr-defined]
    install("mine", backbones=[losskit.BackboneSpec("tiny", "hook_targets:recipe", "Tiny.")])
    assert [spec.namespace for spec in losskit.list_backbones()] == ["mine"]
    assert backbone_recipe("tiny/one", "random").args == ("one", "random")
    with pytest.raises(losskit.LosskitError, match="no known family; did you mean 'tiny'"):
        backbone_recipe("tinny/one")
