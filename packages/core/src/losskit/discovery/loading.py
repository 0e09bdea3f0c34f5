"""Load a plugin inside a guard of its own, so that its fault never hurts another.

Torch-free. What became of a plugin is a `PluginRecord`, never an exception.
Every plugin gets a pluggy manager of its own: registration that fails half way leaves nothing behind
in anybody else's.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias

import pluggy

from losskit import hookspecs
from losskit.discovery.isolation import Untouched
from losskit.errors import nearest
from losskit.spec import BackboneSpec, CommandSpec, LossSpec, PresetSpec, WeightsSpec
from losskit.text import one_line

#: Modules no plugin may import at discovery: each costs every `losskit list` its import.
HEAVY_MODULES = ("torch", "torchvision", "open_clip", "facenet_pytorch", "tensorflow", "jax")
MAX_SPECS = 5_000  # per plugin and hook; more is a runaway generator
SLOW_IMPORT_S = 5.0

Status: TypeAlias = Literal[
    "ok", "disabled", "incompatible", "heavy-import", "import-error", "invalid", "conflict"
]
Spec: TypeAlias = LossSpec | WeightsSpec | CommandSpec | PresetSpec | BackboneSpec

HOOKS: dict[str, type[Any]] = {
    "losskit_losses": LossSpec,
    "losskit_weights": WeightsSpec,
    "losskit_commands": CommandSpec,
    "losskit_presets": PresetSpec,
    "losskit_backbones": BackboneSpec,
}


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """Outcome of loading a plugin.

    Args:
        name: the entry point's name, the namespace of its losses.
        distribution: the installed package it comes from.
        version: of that package.
        status: ``ok``; ``heavy-import`` (works, but slows every listing); or why it is left out.
        error: one line: what went wrong.
        hint: one line: how to mend it.
        import_ms: milliseconds its entry module took to import.
        losses: the names it supplies.
    """

    name: str
    distribution: str
    version: str
    status: Status = "ok"
    error: str = ""
    hint: str = ""
    import_ms: float = 0.0
    losses: tuple[str, ...] = ()
    module: str = ""

    @property
    def usable(self) -> bool:
        """Return whether the plugin's losses can be made."""
        return self.status in ("ok", "heavy-import")


@dataclass(slots=True)
class Loaded:
    """A plugin's record, what it supplies by hook, and the exception that stopped it."""

    record: PluginRecord
    specs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    cause: BaseException | None = None


def load(record: PluginRecord) -> Loaded:
    """Import a plugin's module, call its hooks and check what they return."""
    watch = _ImportWatch()
    start = time.perf_counter()
    try:
        with _contained(record), watch:
            module = importlib.import_module(record.module.partition(":")[0])
    except KeyboardInterrupt:
        raise
    except _TamperingError as error:
        return _failed(record, "invalid", error, start)
    except BaseException as error:  # sys.exit() at import, too, is the plugin's fault alone
        return _failed(record, "import-error", error, start)
    record = replace(record, import_ms=round((time.perf_counter() - start) * 1e3, 2))
    try:
        with _contained(record):
            _check_api(module)
            specs = _call_hooks(module, record.name)
    except _IncompatibleError as error:
        hint = "upgrade losskit" if error.newer else f"upgrade {record.distribution}"
        return Loaded(
            replace(record, status="incompatible", error=str(error), hint=hint), cause=error
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _failed(record, "invalid", error, None)
    record = replace(record, losses=tuple(spec.name for spec in specs["losskit_losses"]))
    if watch.found:
        record = replace(
            record,
            status="heavy-import",
            error=f"imports {watch.found[0]} at {watch.found[1]}",
            hint="move that import into the module that LossSpec.target names",
        )
    return Loaded(record, specs)


def _failed(
    record: PluginRecord, status: Status, error: BaseException, start: float | None
) -> Loaded:
    hints = {
        "import-error": f"reinstall or upgrade {record.distribution}, or LOSSKIT_DISABLE={record.name}",
        "invalid": f"report it to the authors of {record.distribution}, or LOSSKIT_DISABLE={record.name}",
    }
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = record.module.partition(":")[0]
        if f"{module}.".startswith(f"{error.name}."):  # not something that it needs: itself
            hints["import-error"] = (
                f"its entry point names {module!r}, which is not there: reinstall "
                f"{record.distribution}"
            )
        else:
            hints["import-error"] = (
                f"pip install {error.name.partition('.')[0]}, or reinstall {record.distribution}"
            )
    return Loaded(
        replace(
            record,
            status=status,
            error=_told(error)[:500],
            hint=hints[status],
            import_ms=record.import_ms
            if start is None
            else round((time.perf_counter() - start) * 1e3, 2),
        ),
        cause=error,
    )


def _told(error: BaseException) -> str:
    if isinstance(error, _TamperingError):
        return str(error)
    return f"{type(error).__name__}: {one_line(error)}"


@contextlib.contextmanager
def _contained(record: PluginRecord) -> Iterator[None]:
    """Keep a plugin's prints and patches to itself, and say so when its import takes long."""
    timer = threading.Timer(
        SLOW_IMPORT_S,
        lambda: print(
            f"losskit: plugin {record.name!r} ({record.distribution}) has been importing for "
            f"{SLOW_IMPORT_S:.0f} s; LOSSKIT_DISABLE={record.name} leaves it out",
            file=sys.__stderr__,
        ),
    )
    timer.daemon = True
    timer.start()
    untouched = Untouched()
    try:
        with contextlib.redirect_stdout(io.StringIO()), untouched:
            yield
    finally:
        timer.cancel()
    if untouched.changed:
        raise _TamperingError(f"it replaces {', '.join(untouched.changed[:3])}; that was undone")


class _ImportWatch:
    """A meta-path finder that finds nothing: it notes who first asks for a heavy module."""

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = None

    def __enter__(self) -> _ImportWatch:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ValueError):  # a plugin may have rewritten sys.meta_path
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if self.found is None and name in HEAVY_MODULES:
            self.found = (name, _importing_line())


def _importing_line() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


class _TamperingError(Exception):
    pass


class _IncompatibleError(Exception):
    def __init__(self, message: str, newer: bool) -> None:
        super().__init__(message)
        self.newer = newer


def _check_api(module: ModuleType) -> None:
    api = getattr(module, "api", hookspecs.API_VERSION)
    if not isinstance(api, int) or isinstance(api, bool):
        raise TypeError(f"api must be a whole number, not {api!r}")
    oldest = max(1, hookspecs.API_VERSION - 1)
    if not oldest <= api <= hookspecs.API_VERSION:
        raise _IncompatibleError(
            f"it is written for plugin API {api}; this losskit supports "
            f"{oldest} to {hookspecs.API_VERSION}",
            api > hookspecs.API_VERSION,
        )


def _call_hooks(module: ModuleType, name: str) -> dict[str, tuple[Any, ...]]:
    """Register a plugin with a manager of its own and collect what its hooks return."""
    manager = pluggy.PluginManager("losskit")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    _check_hook_names(module)
    return {
        hook: tuple(_checked(hook, kind, name, getattr(manager.hook, hook)()))
        for hook, kind in HOOKS.items()
    }


def _check_hook_names(module: ModuleType) -> None:
    for name in vars(module):
        marked = getattr(vars(module)[name], "losskit_impl", None)
        if marked is not None and name not in HOOKS and not marked.get("optionalhook"):
            raise TypeError(f"there is no hook {name!r}{nearest(name, HOOKS)}")


def _checked(hook: str, kind: type[Any], namespace: str, results: list[Any]) -> Iterator[Spec]:
    """Validate what a hook returned; raises with the culprit's repr."""
    names: set[str] = set()
    for result in results:
        if isinstance(result, str) or not isinstance(result, Iterable):
            raise TypeError(f"{hook}() must return {kind.__name__}s, not {result!r:.80}")
        specs = list(itertools.islice(result, MAX_SPECS + 1))
        if len(specs) > MAX_SPECS:
            raise ValueError(f"{hook}() returned more than {MAX_SPECS} specs")
        for spec in specs:
            if not isinstance(spec, kind):
                raise TypeError(f"{hook}() must return {kind.__name__}s, not {spec!r:.80}")
            for name in (spec.name, *getattr(spec, "aliases", ())):
                if name in names:
                    raise ValueError(f"{hook}() returned the name {name!r} twice")
                names.add(name)
            yield replace(spec, namespace=namespace)
