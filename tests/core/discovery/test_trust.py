"""What a config, a file of weights and an environment can make losskit run: see docs/trust.md."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch

import losskit
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError, WeightsError
from losskit.objectives.build import _constructor
from losskit.objectives.config import load_objective, read_config
from losskit.spec import Example
from losskit.testing import PluginSandbox, losskit_plugins  # noqa: F401 - a fixture
from losskit.weights import load_weights

PAGE = Path(__file__).parents[3] / "docs" / "trust.md"


class Touch:
    """Unpickled by a careless reader, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, (f"open({str(self.path)!r}, 'w').close()",))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_file_of_weights_runs_no_code(suffix: str, writer: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / f"net{suffix}"
    if writer == "torch":
        torch.save({"weight": Touch(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(WeightsError, match="cannot be read as plain tensors"):
        load_weights(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "text",
    [
        "terms: !!python/object/apply:os.system ['touch trap']",
        "terms: !!python/name:os.system",
        "terms: [!!python/object/new:pathlib.Path [trap]]",
        "!!python/module:os",
    ],
)
def test_yaml_makes_no_objects(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.yaml").write_text(text)
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_config("evil.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.yaml"]


@pytest.mark.parametrize(
    "config",
    [
        {"type": "os:system", "command": "touch trap"},
        {"type": "losskit.losses.pixel:L1Loss"},
        {"type": "builtins.eval"},
        {"type": "../L1Loss"},
        {"type": "L1Loss", "reduction": "os:system"},
        {"type": "L1Loss", "data_info": {"pred": "__import__('os').system('touch trap')"}},
    ],
)
def test_a_config_names_losses_never_code(
    config: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(losskit.LosskitError):
        losskit.build(config)({"pred": torch.zeros(2), "target": torch.zeros(2)})
    assert not list(tmp_path.iterdir())


def importing_loss(
    pred: torch.Tensor, *, network: str = "none", allow_import: bool = False
) -> torch.Tensor:
    """A loss that may be given a network by its path."""
    if ":" in network and not allow_import:
        raise ValueError(f"network={network!r} would import code: say allow_import=True")
    return pred.mean()


def test_only_the_caller_gives_leave_to_import(
    losskit_plugins: PluginSandbox,  # noqa: F811
) -> None:
    losskit.register(summary="May import.")(importing_loss)
    config = {"type": "importing_loss", "network": "evil:network"}
    pred = torch.ones(2)
    with pytest.raises(ValueError, match="say allow_import=True"):
        losskit.build(config)(pred)
    for leave in (True, False):
        with pytest.raises(ConfigError, match="cannot give itself leave to import code"):
            losskit.build({**config, "allow_import": leave})
        with pytest.raises(ConfigError, match=r"terms\[0\]: .*cannot give itself leave"):
            load_objective({"terms": [{**config, "allow_import": leave}]})
    assert losskit.build(config, allow_import=True)(pred) == 1
    assert load_objective({"terms": [config]}, allow_import=True)(pred=pred).total == 1
    losskit.build({"type": "L1Loss"}, allow_import=True)  # no matter for losses that import nothing


def test_no_loss_of_ours_imports_what_its_config_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text argument of every loss, given an import path: refused, or not looked at."""
    asked: list[str] = []
    real = importlib.import_module

    def watched(name: str, package: str | None = None) -> object:
        asked.append(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", watched)
    tried = 0
    for spec in losskit.list_losses():
        if spec.namespace == "local":
            continue
        target = resolve_target(spec.target)
        factory = resolve_target(str(spec.example))
        example: Example = factory()
        function = target.__init__ if inspect.isclass(target) else target
        for name in _constructor(target):
            default = inspect.signature(function).parameters[name].default
            if isinstance(default, str) or name in ("facenet", "backbone", "network", "weights"):
                tried += 1
                config = {**example.arguments, "type": spec.qualified_name, name: "evil_module:run"}
                with contextlib.suppress(losskit.LosskitError, ValueError, TypeError, OSError):
                    losskit.build(config)  # a prompt may be any text
    assert tried > 30
    assert not [name for name in asked if name.startswith("evil_module")]


def test_the_page_names_every_control() -> None:
    text = PAGE.read_text()
    for control in (
        "LOSSKIT_PLUGINS",
        "LOSSKIT_DISABLE",
        "--no-plugins",
        "allow_import",
        "weights_only",
    ):
        assert re.search(rf"`[^`]*{control}", text), f"{PAGE.name} does not tell of {control}"
