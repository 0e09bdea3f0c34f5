"""Checks of a whole plugin: whether it loads, what its import costs, what its other hooks name."""

from __future__ import annotations

import importlib

from losskit.discovery.targets import resolve_target
from losskit.hookspecs import API_VERSION
from losskit.testing.case import explained, fail_unless
from losskit.testing.checks import check
from losskit.testing.plugin_case import PluginCase
from losskit.text import one_line

_IMPORT_S = 2.0  # a listing pays this for every plugin; a good one takes a few milliseconds


@check("loads", scope="plugin")
def check_loads(case: PluginCase) -> None:
    """A plugin that does not load supplies nothing: everybody who installed it gets a warning."""
    record = case.record
    fail_unless(
        record.usable,
        f"plugin {case.name!r} is {record.status}: {record.error or record.hint}",
        record.hint or "see `losskit plugins`",
    )


@check("api", scope="plugin")
def check_api(case: PluginCase) -> None:
    """Stating the API version lets a later losskit say that the plugin is too old, not fail in it."""
    with explained("importing the entry module", "see the error"):
        module = importlib.import_module(_entry_module(case))
    fail_unless(
        hasattr(module, "api"),
        f"{_entry_module(case)} does not state the plugin API it is written for",
        f"add `api = {API_VERSION}` at module level",
    )


@check("imports-without-torch", scope="plugin")
def check_imports_without_torch(case: PluginCase) -> None:
    """Every ``losskit list`` imports every plugin's entry module; torch takes 1.5 s, so none may pull it in."""
    probe = case.probe
    fail_unless(
        probe.ok,
        f"importing {_entry_module(case)} in a fresh process failed: {probe.error}",
        "see it",
    )
    fail_unless(
        not probe.heavy,
        f"importing {_entry_module(case)} imports {', '.join(probe.heavy)}",
        "name losses by 'module:attribute' in LossSpec.target, keep the entry module free of them, "
        "and export lazily from the package's __init__",
    )


@check("imports-quietly", scope="plugin")
def check_imports_quietly(case: PluginCase) -> None:
    """An import that prints spoils ``--json``; one that is slow or patches builtins spoils every command."""
    probe = case.probe
    where = _entry_module(case)
    fail_unless(
        not probe.printed,
        f"importing {where} prints {probe.printed[:80]!r}",
        "use logging, inside functions",
    )
    fail_unless(
        not probe.warned,
        f"importing {where} writes to stderr: {one_line(probe.warned)[:200]!r}",
        "import what warns inside the functions that need it",
    )
    fail_unless(
        not probe.changed,
        f"importing {where} replaces {', '.join(probe.changed)}",
        "leave the interpreter as it is",
    )
    fail_unless(
        probe.seconds < _IMPORT_S,
        f"importing {where} takes {probe.seconds:.1f} s",
        "move the work into the functions that need it",
    )


@check("other-hooks", scope="plugin")
def check_other_hooks(case: PluginCase) -> None:
    """Commands, presets and backbones are resolved when somebody uses them: a typo would show only then."""
    for what, target in case.targets:
        with explained(f"importing the target of {what}", "name an existing 'module:attribute'"):
            value = resolve_target(target)
        fail_unless(callable(value), f"{target!r} of {what} is not callable", "name a function")
    for what, summary in case.summaries:
        fail_unless(bool(summary.strip()), f"{what} has no summary", "give its spec one line")


def _entry_module(case: PluginCase) -> str:
    return case.record.module.partition(":")[0]
