"""Resolve ``NAME`` and ``"module:attribute"`` of a config, and refuse foreign code unless allowed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from losskit.errors import ConfigError, nearest
from losskit.text import one_line


def import_named(name: str, *, default_module: str, allow_import: bool, where: str) -> Any:
    """Import the object that a config names.

    A config that names a class of yours runs your code, as ``python yours.py`` would: that is
    its author's power over the machine, so it has to be asked for. With ``allow_import`` the
    current folder is importable, as it is for a script.

    Args:
        name: ``"module:attribute"``, or the name of something in ``default_module``.
        default_module: where plain names are looked up, in its ``__all__``.
        allow_import: whether code may be imported by path at all.
        where: the config key, for messages.

    Raises:
        ConfigError: it does not exist, cannot be imported, or is a path and not allowed.
    """
    if not isinstance(name, str):
        raise ConfigError(f"{where} must be a name or 'module:attribute', not {name!r}")
    if ":" not in name:
        module = importlib.import_module(default_module)
        names = list(module.__all__)
        if name not in names:
            raise ConfigError(
                f"{where}: there is no {name!r}{nearest(name, names)}; there are "
                f"{', '.join(names)}, or write 'module:{name}' for your own"
            )
        return getattr(module, name)
    module_name, _, attribute = name.partition(":")
    # Our own modules are no exception: they hold `os`, `importlib` and functions that import.
    if not allow_import:
        raise ConfigError(
            f"{where}: {name!r} is code that the config names; if you trust it, give "
            "--allow-import (in Python: allow_import=True)"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:  # whatever foreign code raises while it is imported
        raise ConfigError(
            f"{where}: cannot import {name!r}: {type(error).__name__}: {one_line(error)}"
        ) from error
    return value
