"""What commands print as JSON, under a parser that takes JSON only: no NaN, no Infinity."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import losskit
import losskit_lab
from losskit.cli import main
from losskit.cli.strict_json import strict_json


def strict(text: str) -> dict:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_not_finite_is_null_and_named() -> None:
    content = {"a": [1.5, math.nan, {"b": -math.inf}], "c": (np.float64("inf"), Path("x"), True)}
    assert strict(strict_json(content)) == {
        "a": [1.5, None, {"b": None}],
        "c": [None, "x", True],
        "not_finite": {"a[1]": "nan", "a[2].b": "-inf", "c[0]": "inf"},
    }
    assert strict(strict_json({"a": {1: 2}, "b": None})) == {"a": {"1": 2}, "b": None}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("0.png", "1.png"):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / name)
    black = Image.new("RGB", (16, 16))
    black.save(tmp_path / "a" / "0.png")
    return [str(tmp_path / "a"), str(tmp_path / "b")]


@pytest.fixture
def infinite(core_only) -> None:
    @losskit.register(summary="Infinite where an image is black.")
    def one_over_light(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 1 / pred.mean()


def test_eval(infinite, folders, tmp_path, capsys) -> None:
    csv = tmp_path / "t.csv"
    argv = ["eval", *folders, "--loss", "one_over_light", "--csv", str(csv)]
    assert main([*argv, "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["images"][0]["one_over_light"] is None
    assert found["images"][1]["one_over_light"] > 0
    assert found["summary"]["one_over_light"] == {"mean": None, "std": None, "ci95": None, "n": 2}
    assert found["not_finite"] == {
        "images[0].one_over_light": "inf",
        "summary.one_over_light.mean": "inf",
        "summary.one_over_light.std": "nan",
        "summary.one_over_light.ci95": "nan",
    }
    assert csv.read_text().splitlines()[1] == "0,inf"
    assert main(argv) == 0
    assert capsys.readouterr().out.splitlines()[-2].split() == ["mean", "inf"]


def test_atlas_leaves_out_what_is_infinite(infinite, folders, tmp_path, capsys) -> None:
    argv = ["atlas", "--loss", "one_over_light", "--loss", "HuberLoss:delta=1e-30", "--size", "16"]
    argv += ["--image", f"{folders[0]}/0.png", "--out", str(tmp_path / "atlas"), "--json"]
    assert main(argv) == 0
    found = strict(capsys.readouterr().out)
    assert list(found["left_out"]) == ["one_over_light"]
    assert found["losses"][0]["curves"]["noise"][3] is None


def test_optimize(infinite, folders, tmp_path, capsys) -> None:
    watched = "{type: one_over_light, loss_name: light, monitor: true}"
    objective = tmp_path / "o.yaml"
    objective.write_text(
        f"on_nonfinite: skip\nterms: [{{type: HuberLoss, delta: .inf, loss_weight: 0}}, {watched}]"
    )
    black = f"{folders[0]}/0.png"
    out = tmp_path / "out"
    argv = ["optimize", str(objective), "--init", black, "--target", black, "--out", str(out)]
    assert main([*argv, "--steps", "1", "--json"]) == 0
    assert strict(capsys.readouterr().out)["not_finite"] == {"values.light": "inf"}
    settings = strict((out / "run.json").read_text())
    assert settings["not_finite"] == {"objective.terms[0].delta": "inf"}
    assert main([*argv, "--steps", "2", "--resume"]) == 0  # the settings are the same ones
    objective.write_text(objective.read_text().replace(".inf", ".nan"))
    assert main([*argv, "--steps", "3", "--resume"]) == 1


def test_migrate(tmp_path, capsys) -> None:
    config = tmp_path / "c.py"
    config.write_text("model = dict(pixel_loss=dict(type='UnknownLoss', top=1e999))\n")
    assert main(["migrate", str(config), "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["terms"][0]["config"]["top"] is None
    assert found["not_finite"] == {"terms[0].config.top": "inf"}


@pytest.mark.parametrize(
    "argv", [["list"], ["show", "L1Loss"], ["plugins"], ["presets"], ["weights", "list"]]
)
def test_listings(argv, capsys) -> None:
    main([*argv, "--json"])
    assert strict(capsys.readouterr().out)["schema"] == 1


def test_every_command_prints_its_json_that_way() -> None:
    """Those that are slow to run (doctor, check) too: nothing else of the packages writes JSON out."""
    packages = [Path(module.__file__).parent for module in (losskit, losskit_lab)]
    writers = {
        str(path.relative_to(package.parent))
        for package in packages
        for path in package.rglob("*.py")
        if "json.dumps(" in path.read_text() or "json.dump(" in path.read_text()
    }
    assert writers == {
        "losskit/cli/strict_json.py",
        "losskit_lab/migrate/convert.py",  # options of a command to type
        "losskit/scaffold/writer.py",  # strings of a pyproject.toml
        "losskit/testing/plugin_case.py",  # a list of paths, for a process of its own
    }


def test_what_show_says_of_arguments_are_values_and_types(capsys) -> None:
    """A script can make the loss from it, with every option at its default."""
    import losskit

    for spec in losskit.list_losses():
        if spec.namespace != "core":
            continue
        assert main(["show", spec.qualified_name, "--json"]) == 0
        loss = strict(capsys.readouterr().out)["loss"]
        made = losskit.create(spec.name)
        given = {name: argument["default"] for name, argument in loss["arguments"].items()}
        assert repr(losskit.create(spec.name, **given)) == repr(made)
    assert main(["show", "CharbonnierLoss", "--json"]) == 0
    loss = strict(capsys.readouterr().out)["loss"]
    assert loss["arguments"]["eps"] == {"type": "float", "required": False, "default": 1e-12}
    kinds = loss["arguments"]["reduction"]["type"]
    assert kinds == "Literal['mean', 'sum', 'none']"
    assert loss["inputs"]["pred"] == {"type": "Tensor", "required": True}
