"""Packages whose names are imported when they are first used: listing plugins imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package that imports nothing itself (PEP 562).

    Args:
        package: its ``__name__``.
        modules: the module that defines each public name.

    Example:
        >>> __getattr__, __dir__ = lazy_exports("mine", {"sqrt": "math"})
        >>> __getattr__("sqrt")(4.0)
        2.0
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return get, lambda: sorted(modules)
