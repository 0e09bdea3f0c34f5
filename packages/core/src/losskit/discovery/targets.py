"""Targets of specs, imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from losskit.errors import PluginError


def resolve_target(target: str) -> Any:
    """Import what ``"module:attribute"`` names.

    Raises:
        PluginError: the module cannot be imported or has no such attribute.
    """
    module_name, _, attribute = target.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        from losskit.discovery.extras import explained

        raise PluginError(
            f"cannot load {target!r}: {type(error).__name__}: {explained(error)}"
        ) from error
    return value
