"""Notice and undo what a plugin replaces in Python, pluggy or losskit itself. Torch-free.

A guard against accidents and bad manners, not against malice: code that is installed can do
anything (see "What is trusted" in the documentation).
"""

from __future__ import annotations

import inspect
import sys
from types import TracebackType
from typing import Any

#: Modules whose functions and classes a plugin must leave alone, if they are loaded.
_WATCHED = ("builtins", "importlib", "importlib.metadata", "json", "pluggy", "warnings")
_SYS_HOOKS = ("excepthook", "displayhook", "exit", "settrace")


class Untouched:
    """A context that puts back what was replaced inside it; ``changed`` names it.

    What is only added (a lazily imported submodule, say) is no replacement.
    """

    def __init__(self) -> None:
        self.changed: list[str] = []
        self._before: list[tuple[str, Any, dict[str, Any]]] = []

    def __enter__(self) -> Untouched:
        for name in [*_WATCHED, *(n for n in sys.modules if n.partition(".")[0] == "losskit")]:
            module = sys.modules.get(name)
            if module is None:
                continue
            found = {key: value for key, value in vars(module).items() if callable(value)}
            self._before.append((name, module, found))
            self._before += [
                (f"{name}.{key}", value, dict(vars(value)))
                for key, value in found.items()
                if inspect.isclass(value) and value.__module__ == name and name != "builtins"
            ]
        self._before.append(("sys", sys, {key: getattr(sys, key) for key in _SYS_HOOKS}))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name, owner, before in self._before:
            now = vars(owner)
            for key, value in before.items():
                if now.get(key) is not value and (callable(value) or isinstance(value, property)):
                    self.changed.append(f"{name}.{key}")
                    setattr(owner, key, value)
        self._before.clear()
