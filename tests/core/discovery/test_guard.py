"""What a plugin replaces while it is loaded is put back, and named."""

from __future__ import annotations

import builtins
import json
import sys

import pytest

from losskit import spec
from losskit.discovery import targets
from losskit.discovery.isolation import Untouched


def test_nothing_changed_is_nothing_told() -> None:
    with Untouched() as untouched:
        import email.mime.text  # noqa: F401 - adds modules, replaces nothing
    assert untouched.changed == []


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (builtins, "print", "builtins.print"),
        (builtins, "__import__", "builtins.__import__"),
        (json, "dumps", "json.dumps"),
        (sys, "excepthook", "sys.excepthook"),
        (targets, "resolve_target", "losskit.discovery.targets.resolve_target"),
        (spec.LossSpec, "__post_init__", "losskit.spec.LossSpec.__post_init__"),
        (spec.LossSpec, "qualified_name", "losskit.spec.LossSpec.qualified_name"),
    ],
)
def test_a_replacement_is_undone_and_named(owner: object, name: str, told: str) -> None:
    before = vars(owner)[name]
    with Untouched() as untouched:
        setattr(owner, name, lambda *args, **kwargs: None)
    assert vars(owner)[name] is before
    assert told in untouched.changed


def test_a_deletion_is_undone() -> None:
    before = json.dumps
    with Untouched() as untouched:
        del json.dumps
    assert json.dumps is before
    assert untouched.changed == ["json.dumps"]


def test_it_is_undone_also_after_an_exception() -> None:
    before = json.dumps

    def patch() -> None:
        json.dumps = None  # type: ignore[assignment]
        raise RuntimeError("after patching")

    with pytest.raises(RuntimeError), Untouched():
        patch()
    assert json.dumps is before
