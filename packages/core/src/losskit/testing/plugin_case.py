"""A plugin under test, and what importing its entry module does in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from losskit.discovery.loading import HEAVY_MODULES, PluginRecord
from losskit.discovery.registry import (
    list_backbones,
    list_commands,
    list_losses,
    list_presets,
    list_weights,
    plugins,
)
from losskit.errors import LosskitError, nearest
from losskit.spec import LossSpec

_IMPORT_TIMEOUT_S = 60
# What the child does: import the module, then say on the last line of stdout what that brought in.
_PROBE = """
import builtins, importlib, json, sys, time
sys.path[:] = json.loads(sys.argv[2])
import losskit.hookspecs, losskit.spec, losskit, importlib.metadata, warnings
watched = {name: getattr(builtins, name) for name in ("print", "open", "__import__")}
hook = sys.excepthook
before = set(sys.modules)
start = time.perf_counter()
importlib.import_module(sys.argv[1])
took = time.perf_counter() - start
changed = [name for name, was in watched.items() if getattr(builtins, name) is not was]
if sys.excepthook is not hook:
    changed.append("sys.excepthook")
new = sorted(name for name in set(sys.modules) - before if "." not in name)
print("\\n" + json.dumps({"modules": new, "seconds": took, "changed": changed}))
"""


class PluginCase:
    """An installed plugin.

    Args:
        name: its entry point's name.

    Raises:
        LosskitError: no such plugin is installed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        found = [record for record in plugins() if record.name == name]
        if not found:
            known = [record.name for record in plugins()]
            raise LosskitError(
                f"no plugin is called {name!r}{nearest(name, known)}; see `losskit plugins`"
            )
        self.record: PluginRecord = found[0]

    @property
    def losses(self) -> list[LossSpec]:
        """The losses it supplies."""
        return list_losses(plugin=self.name)

    @property
    def targets(self) -> list[tuple[str, str]]:
        """Targets of the plugin's other hooks, as (kind and name, target)."""
        return [
            (kind, getattr(spec, field))
            for kind, spec in self._others()
            for field in ("target", "files", "known")
            if getattr(spec, field, "")
        ]

    @property
    def summaries(self) -> list[tuple[str, str]]:
        """(kind and name, summary) of everything that listings show besides losses."""
        return [(kind, spec.summary) for kind, spec in self._others()]

    def _others(self) -> Iterator[tuple[str, Any]]:
        """(kind and name, spec) of everything it supplies besides losses."""
        listed: dict[str, list[Any]] = {
            "command": list_commands(),
            "preset": list_presets(),
            "backbone": list_backbones(),
            "weights": list_weights(),
        }
        for kind, specs in listed.items():
            for spec in specs:
                if spec.namespace == self.name:
                    yield f"{kind} {spec.name!r}", spec

    @cached_property
    def probe(self) -> Probe:
        """Effects of importing the entry module, in a process of its own."""
        return Probe(self.record.module.partition(":")[0])


class Probe:
    """One import of a module in a fresh interpreter.

    Args:
        module: its dotted name.
    """

    def __init__(self, module: str) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "LOSSKIT_PLUGINS": ""}
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, module, json.dumps(sys.path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_IMPORT_TIMEOUT_S,
            env=environment,
        )
        self.ok = done.returncode == 0
        lines = done.stdout.splitlines()
        report: dict[str, Any] = json.loads(lines[-1]) if self.ok and lines else {}
        self.error = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        self.printed = "\n".join(lines[:-2]).strip() if self.ok else ""
        self.warned = done.stderr.strip() if self.ok else ""
        self.heavy = [name for name in HEAVY_MODULES if name in report.get("modules", ())]
        self.seconds = float(report.get("seconds", 0.0))
        self.changed: list[str] = list(report.get("changed", ()))
