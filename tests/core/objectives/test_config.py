"""Objectives from YAML, JSON, TOML and mappings."""

from __future__ import annotations

import json

import pytest
import torch

import losskit
from losskit.errors import ConfigError, LosskitError
from losskit.objectives.config import read_config

pytestmark = pytest.mark.usefixtures("core_only")

CONFIG = {
    "on_nonfinite": "skip",
    "terms": [
        {"type": "L1Loss", "loss_weight": 0.001, "data_info": {"pred": "fake", "target": "real"}},
        {"type": "MSELoss", "data_info": {"pred": "fake", "target": "real"}, "ramp": {"steps": 10}},
    ],
}
YAML = """
on_nonfinite: skip
terms:
  - type: L1Loss
    loss_weight: 1e-3
    data_info: {pred: fake, target: real}
  - type: MSELoss
    data_info: &same
      pred: fake
      target: real
    ramp: {steps: 10}
"""
TOML = """
on_nonfinite = "skip"
[[terms]]
type = "L1Loss"
loss_weight = 1e-3
data_info = {pred = "fake", target = "real"}
[[terms]]
type = "MSELoss"
ramp = {steps = 10}
[terms.data_info]
pred = "fake"
target = "real"
"""


@pytest.mark.parametrize(
    ("suffix", "text"),
    [(".yaml", YAML), (".yml", YAML), (".json", json.dumps(CONFIG)), (".toml", TOML)],
)
def test_every_format_gives_the_same_objective(tmp_path, suffix, text) -> None:
    path = tmp_path / f"objective{suffix}"
    path.write_text(text)
    assert read_config(path) == CONFIG
    outputs = {"fake": torch.rand(2, 3), "real": torch.rand(2, 3), "iteration": 4}
    expected = losskit.load_objective(CONFIG)(outputs)
    for source in (path, str(path)):
        objective = losskit.load_objective(source)
        assert objective.on_nonfinite == "skip"
        assert objective(outputs).total == expected.total


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5e1", 5.0), ("1e-3x", "1e-3x"), ("e5", "e5"), ("'1e3'", "1e3")],
)  # fmt: skip
def test_yaml_numbers_with_exponents(tmp_path, text, value) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"a: {text}")
    assert read_config(path) == {"a": value}


def test_yaml_merges_and_anchors(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {x: 1, y: 2}\nother:\n  <<: *base\n  y: 3\n")
    assert read_config(path)["other"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", "", "must hold a mapping, not NoneType"),
        ("a.yaml", "- 1\n- 2", "must hold a mapping, not list"),
        ("a.json", "3", "must hold a mapping, not int"),
        ("a.yaml", "a: [1", "a.yaml: while parsing a flow sequence"),
        ("a.yaml", "terms: []\nterms: [1]", "key 'terms' twice, on line 2"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a.json", "{", "a.json: Expecting property name"),
        ("a.json", "[" * 100_000, "a.json: "),
        ("a.toml", "a = ", "a.toml: Invalid value"),
        ("a.txt", "", "a config ends in .yaml, .yml, .json, .toml, not '.txt'"),
        ("a", "", "not ''"),
        ("a.yaml", b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_files_that_are_no_configs(tmp_path, name, content, message) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as error:
        losskit.load_objective(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere.yaml: No such file or directory"):
        losskit.load_objective(tmp_path / "nowhere.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        losskit.load_objective(tmp_path / "folder.yaml")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "'terms' must be a list of at least one term, not None"),
        ({"terms": []}, "'terms' must be a list of at least one term, not []"),
        ({"terms": {"type": "L1Loss"}}, "'terms' must be a list"),
        ({"terms": "L1Loss"}, "'terms' must be a list of at least one term, not 'L1Loss'"),
        ({"term": []}, "unknown key 'term'; did you mean 'terms'?; an objective has terms, on_nonfinite"),
        ({"terms": [{"type": "L1Loss"}, 3]}, "terms[1]: a term's config must be a mapping"),
        ({"terms": [{"type": "L1Los"}]}, "terms[0]: no loss is called 'L1Los'; did you mean 'L1Loss'?"),
        ({"terms": [{"type": "L1Loss", "weight": 1}]}, "terms[0]: L1Loss has no argument 'weight'; did you mean 'loss_weight'?"),
        ({"terms": [{"type": "L1Loss", "interval": 0}]}, "terms[0]: interval must be a whole number"),
        ({"terms": [{"type": "L1Loss"}], "on_nonfinite": "stop"}, "on_nonfinite must be one of raise, warn, skip, ignore, not 'stop'"),
    ],
)  # fmt: skip
def test_configs_that_are_no_objectives(tmp_path, config, message) -> None:
    path = tmp_path / "objective.json"
    path.write_text(json.dumps(config))
    for source in (config, path):
        with pytest.raises(LosskitError) as error:
            losskit.load_objective(source)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert str(path) in str(error.value)  # a file's errors say which file


@pytest.mark.parametrize("source", [None, 3, ["L1Loss"]])
def test_neither_path_nor_mapping(source) -> None:
    with pytest.raises(
        ConfigError, match="an objective comes from a path or a mapping with 'terms'"
    ):
        losskit.load_objective(source)
