"""A fixture that shuts out what is installed, and puts in what a test needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest

from losskit.discovery import installed as discovery
from losskit.discovery import registry
from losskit.discovery.entry_points import EntryPoint, entry_points
from losskit.hookspecs import API_VERSION, hookimpl


class PluginSandbox:
    """The plugins a test sees: the core, and what it installs here.

    Args:
        monkeypatch: undoes everything at the end of the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._entries = [e for e in entry_points() if e.name == "core"]
        monkeypatch.delenv("LOSSKIT_PLUGINS", raising=False)
        monkeypatch.delenv("LOSSKIT_DISABLE", raising=False)
        monkeypatch.delenv("LOSSKIT_STRICT", raising=False)
        monkeypatch.setattr(discovery, "entry_points", lambda: list(self._entries))
        monkeypatch.setattr(registry, "_LOCAL", {})
        registry.refresh()

    def install(
        self, name: str, module: str | ModuleType | None = None, /, **hooks: Iterable[Any]
    ) -> None:
        """Make a plugin known for the rest of the test.

        Args:
            name: of its entry point.
            module: its entry module, or that module's dotted name; made from ``hooks`` if left out.
            hooks: what the made module's hooks return: ``losses=[LossSpec(...)]``, ``weights=``,
                ``commands=``, ``presets=``, ``backbones=``.
        """
        if module is None:
            module = _module_of(f"losskit_sandbox_{name}", hooks)
        if isinstance(module, ModuleType):
            self._monkeypatch.setitem(sys.modules, module.__name__, module)
            module = module.__name__
        self._entries.append(EntryPoint(name, module, f"losskit-{name}".replace("_", "-"), "0"))
        registry.refresh()


def _module_of(name: str, hooks: dict[str, Iterable[Any]]) -> ModuleType:
    module = ModuleType(name)
    vars(module)["api"] = API_VERSION
    for hook, specs in hooks.items():
        # A default binds each lambda to its own specs; pluggy passes hooks what they name only.
        setattr(module, f"losskit_{hook}", hookimpl(lambda specs=specs: specs))
    return module


@pytest.fixture
def losskit_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginSandbox]:
    """No plugin but the core is installed, whatever is; ``losskit_plugins.install`` adds some."""
    with monkeypatch.context() as patch:
        yield PluginSandbox(patch)
    registry.refresh()
