"""The reference of the training config says what the schema does, of every key."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import pytest
import yaml

from losskit.cli import main
from losskit.objectives.config import config_yaml, read_config
from losskit_train.config import reference
from losskit_train.config.schema import from_mapping, with_overrides
from losskit_train.config.training import TrainConfig, load_train_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "examples").glob("*/config.yaml"))
KEYS = list(reference.all_keys())


def schema_paths(cls: Any = TrainConfig, path: str = "") -> list[str]:
    """Every dotted key, found without the reference."""
    found = []
    for name, hint in get_type_hints(cls).items():
        found.append(path + name)
        for kind in (hint, *get_args(hint)):
            found += schema_paths(kind, f"{path}{name}.") if is_dataclass(kind) else []
    return found


def uncommented(text: str) -> str:
    """The template with the sections that are commented out put in."""
    return re.sub(r"^#(?=\w|  )", "", text, flags=re.M)


def paths_of(data: Any, path: str = "") -> list[str]:
    """The dotted keys of a template, as deep as sections go."""
    sections = {key.path for key in KEYS if key.section}
    found = []
    for name, value in data.items():
        found.append(path + name)
        if path + name in sections:
            found += paths_of(value, f"{path}{name}.")
    return found


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["train", "--print-config", *arguments]) == 0
    return capsys.readouterr().out


def test_every_key_has_a_meaning() -> None:
    assert [key.path for key in KEYS if not key.meaning] == []
    described = {key.path for key in KEYS if key.section and not reference.description(key.section)}
    assert described == set()


def test_every_argument_that_a_docstring_explains_is_a_key() -> None:
    for cls in {TrainConfig, *(key.section for key in KEYS if key.section)}:
        assert set(reference._arguments(cls)) == {field.name for field in fields(cls)}


def test_keys_are_the_schemas() -> None:
    assert [key.path for key in KEYS] == schema_paths()


def test_examples_are_allowed() -> None:
    whole = yaml.safe_load(uncommented(reference.commented_yaml(reference.required_examples())))
    for key in KEYS:
        # A default is an example too, unless it is nothing.
        shown = key.example or key.section or not (key.required or key.default in (None, [], {}))
        assert shown, f"{key.path} needs an example"
        if key.example:
            from_mapping(TrainConfig, with_overrides(whole, [f"{key.path}={key.example}"]))


def test_template_has_every_key_and_is_a_config(tmp_path, capsys) -> None:
    text = printed(capsys)
    assert paths_of(yaml.safe_load(uncommented(text))) == schema_paths()
    from_mapping(TrainConfig, yaml.safe_load(uncommented(text)))
    (tmp_path / "template.yaml").write_text(text)
    expected = from_mapping(TrainConfig, reference.required_examples())
    assert load_train_config(tmp_path / "template.yaml") == expected


def test_template_has_a_comment_above_every_key(capsys) -> None:
    lines = uncommented(printed(capsys)).splitlines()
    at = [index for index, line in enumerate(lines) if re.match(r" *\w+:( |$)", line)]
    assert len(at) >= len(KEYS)
    for key in KEYS:
        depth = "  " * key.path.count(".")
        places = [i for i in at if re.match(rf"{depth}{key.name}:", lines[i])]
        assert places, key.path
        assert any(f"Type: {key.type}." in " ".join(lines[i - 3 : i]) for i in places), key.path
        assert all(lines[i - 1].startswith(f"{depth}# ") for i in places), key.path
    for key in KEYS:
        if key.required:
            assert "Required." in " ".join(lines).partition(f"{key.name}:")[0]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_a_printed_config_loads_as_the_same(path: Path, tmp_path, capsys) -> None:
    (tmp_path / "printed.yaml").write_text(printed(capsys, str(path)))
    assert load_train_config(tmp_path / "printed.yaml") == load_train_config(path)


def test_what_the_command_line_changes_is_printed(tmp_path, capsys) -> None:
    changes = ["optimizer.generator.lr=1e-5", "validate={images: val}", "data.task=inpainting"]
    text = printed(capsys, str(CONFIGS[0]), *changes, "--out", "1e-3", "--allow-import")
    (tmp_path / "printed.yaml").write_text(text)
    config = load_train_config(tmp_path / "printed.yaml")
    assert config.optimizer.generator.lr == 1e-5
    assert config.validate is not None
    assert config.validate.images == "val"
    assert config.allow_import is False
    assert yaml.safe_load(text)["out"] == config.out
    assert printed(capsys, str(tmp_path / "printed.yaml")) == text


def test_template_takes_changes_too(capsys) -> None:
    config = yaml.safe_load(printed(capsys, "preset=stylegan2", "steps=7", "--seed", "3"))
    assert (config["preset"], config["steps"], config["seed"]) == ("stylegan2", 7, 3)
    assert config["optimizer"]["lr"] == 2e-3  # the preset's


def test_a_wrong_config_is_not_printed(tmp_path, capsys) -> None:
    (tmp_path / "c.yaml").write_text("model: {generator: {}}\ndata: {images: a, sise: 8}")
    assert main(["train", str(tmp_path / "c.yaml"), "--print-config"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean 'data.size'?" in captured.err


@pytest.mark.parametrize(
    "value",
    ["1e-3", 1e-5, "null", "a: b", "é\nb", {"a": [{"b": None}, "on"]}, [1, -2.5], "", "x" * 200],
)
def test_config_yaml_is_read_as_the_same(value: Any, tmp_path: Path) -> None:
    for one_line in (False, True):
        (tmp_path / "c.yaml").write_text(config_yaml({"key": value}, one_line=one_line))
        assert read_config(tmp_path / "c.yaml") == {"key": value}


@dataclass(frozen=True)
class _Inner:
    """``inner``: below.

    Args:
        kind: which
            one. Example: ``{type: X}``.
    """

    kind: Literal["a", "b"] | dict[str, Any] = "a"


@dataclass(frozen=True)
class _Outer:
    """All.

    Args:
        share: of
            ``x``.
        many: numbers.
        inner: more.
        perhaps: or less.

    Raises:
        ValueError: never.
    """

    share: float = field(default=0.5, metadata={"least": 0, "most": 1})
    many: list[int] | tuple[float, float] | None = field(default=None, metadata={"least": 1})
    inner: _Inner = field(default_factory=lambda: _Inner("b"))
    perhaps: _Inner | None = None
    nothing: Any = 1


def test_rows_of_a_schema() -> None:
    rows = {key.path: key for key in reference.all_keys(_Outer)}
    assert list(rows) == [
        *("share", "many", "inner", "inner.kind", "perhaps", "perhaps.kind", "nothing")
    ]
    assert rows["share"].type == "number from 0 to 1"
    assert rows["share"].meaning == "of `x`."
    assert rows["many"].type == ("list of whole numbers >= 1, list of 2 numbers >= 1 or `null`")
    assert rows["inner"].default_in_words() == ""
    assert rows["perhaps"].type == "section or `null`"
    assert rows["perhaps"].default_in_words() == "`null`"
    assert rows["inner.kind"].type == "`a`, `b` or mapping"
    assert (rows["inner.kind"].meaning, rows["inner.kind"].example) == ("which one.", "{type: X}")
    assert rows["nothing"].meaning == ""
    assert not any(key.required or key.default is MISSING for key in rows.values())
    lines = "\n".join(reference._lines(_Outer, "", {}))
    assert yaml.safe_load(lines) == {
        "share": 0.5,
        "many": None,
        "inner": {"kind": "b"},
        "nothing": 1,
    }
    assert yaml.safe_load(uncommented(lines))["perhaps"] == {"kind": "a"}
