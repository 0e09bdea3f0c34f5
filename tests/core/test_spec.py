"""What a plugin declares is checked when it is declared."""

from __future__ import annotations

import pytest
from processes import imported_by

from losskit.discovery.targets import resolve_target
from losskit.errors import PluginError
from losskit.spec import LossSpec, WeightsSpec
from losskit.text import one_line

GOOD = {"name": "ALoss", "target": "a.b:C"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": ""}, ValueError, "'' is not a loss name: letters, digits"),
        ({"name": "A Loss"}, ValueError, "'A Loss' is not a loss name"),
        ({"name": "gan/A"}, ValueError, "'gan/A' is not a loss name"),
        ({"name": 3}, TypeError, "LossSpec.name must be a string, not 3"),
        (
            {"target": "a.b.C"},
            ValueError,
            "LossSpec.target must be 'module:attribute', not 'a.b.C'",
        ),
        ({"target": None}, TypeError, "LossSpec.target must be a string, not None"),
        ({"target": "a.b:C()"}, ValueError, "LossSpec.target must be"),
        ({"example": "a"}, ValueError, "LossSpec.example must be 'module:attribute', not 'a'"),
        ({"tags": "pixel"}, TypeError, "LossSpec.tags must be a tuple of strings, not 'pixel'"),
        ({"tags": (1,)}, TypeError, "LossSpec.tags must be a tuple of strings"),
        ({"aliases": ("a b",)}, ValueError, "'a b' is not a loss name"),
        ({"summary": "two\nlines"}, ValueError, "the summary of 'ALoss' must be one line"),
        ({"summary": None}, TypeError, "LossSpec.summary must be a string"),
        ({"paper": 1}, TypeError, "LossSpec.paper must be a string"),
    ],
)
def test_a_bad_loss_spec(change, error, message) -> None:
    with pytest.raises(error) as caught:
        LossSpec(**{**GOOD, **change})
    assert message in str(caught.value)


def test_a_good_one_is_frozen_and_hashable() -> None:
    spec = LossSpec(**GOOD, tags=["pixel"], aliases=["B"])
    assert spec.tags == ("pixel",)
    assert {spec: 1}[LossSpec(**GOOD, tags=("pixel",), aliases=("B",))] == 1
    assert spec.qualified_name == "ALoss"
    with pytest.raises(AttributeError):
        spec.name = "x"


@pytest.mark.parametrize("sha256", ["", "0" * 63, "g" * 64, "A" * 64])
def test_a_weights_spec_needs_a_checksum(sha256) -> None:
    with pytest.raises(ValueError, match="sha256 of 'net' must be 64 hexadecimal digits, or None"):
        WeightsSpec("net", "https://example.org/net", sha256, "MIT", 1)


def test_a_weights_spec_says_outright_that_it_has_none() -> None:
    spec = WeightsSpec("net", "https://example.org/net", None, "unknown", None)
    assert spec.sha256 is None
    with pytest.raises(TypeError, match="sha256"):
        WeightsSpec("net", "https://example.org/net", license="MIT", size=1)
    with pytest.raises(TypeError, match=r"WeightsSpec\.size must be a number of bytes, not '1'"):
        WeightsSpec("net", "https://example.org/net", None, "MIT", "1")


def test_targets() -> None:
    assert resolve_target("losskit.spec:LossSpec.qualified_name") is LossSpec.qualified_name


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("losskit.nowhere:A", "ModuleNotFoundError: No module named 'losskit.nowhere'"),
        ("losskit.spec:Nothing", "AttributeError"),
    ],
)
def test_a_target_that_is_not_there(target, message) -> None:
    with pytest.raises(PluginError, match="cannot load") as caught:
        resolve_target(target)
    assert message in str(caught.value)
    assert caught.value.__cause__ is not None


def test_messages_stay_one_line() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"


def test_specs_are_torch_free() -> None:
    code = "import losskit; losskit.LossSpec('A', 'a:B'); losskit.Example(); losskit.hookimpl"
    assert imported_by(code, "torch", "numpy", "yaml") == []
