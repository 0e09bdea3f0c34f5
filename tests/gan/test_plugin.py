"""The plugin declares what it has, without torch, and every declaration resolves."""

from __future__ import annotations

import pytest
from processes import imported_by

import losskit_gan
from losskit.discovery.targets import resolve_target
from losskit_gan import plugin

SPECS = plugin.losskit_losses()


def test_declares_without_torch():
    assert imported_by("import losskit_gan.plugin as p; p.losskit_losses()", "torch") == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_specs_are_complete_and_their_examples_run(spec):
    assert spec.summary
    assert spec.paper
    assert spec.example
    example = resolve_target(spec.example)()
    value = resolve_target(spec.target)(**example.arguments)(**example.inputs)
    assert value.ndim == 0
    assert value.isfinite()


@pytest.mark.parametrize("name", losskit_gan.__all__)
def test_exports_resolve(name):
    assert getattr(losskit_gan, name).__module__.startswith("losskit_gan.")


def test_unknown_export():
    with pytest.raises(AttributeError, match="no attribute 'hinge'"):
        losskit_gan.hinge
