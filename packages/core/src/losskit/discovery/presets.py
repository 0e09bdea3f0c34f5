"""Presets by name: published combinations of losses, as configs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from losskit.discovery.options import check_options
from losskit.discovery.registry import list_presets
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError, nearest
from losskit.spec import PresetSpec
from losskit.text import one_line

NO_PRESETS = "no installed plugin has presets; losskit-gan does: pip install losskit-gan"


def preset_config(
    name: str, options: Mapping[str, Any] | None = None
) -> tuple[PresetSpec, dict[str, Any]]:
    """A preset's spec and the config it stands for.

    Args:
        name: the preset's name, or qualified (``"gan/stylegan2"``).
        options: its ``loss_config`` keys.

    Raises:
        ConfigError: there is no such preset, it has no such key, or a value is of the wrong kind.
    """
    namespace, _, bare = name.rpartition("/")
    presets = list_presets()
    matches = [p for p in presets if p.name == bare and namespace in ("", p.namespace)]
    if not presets:
        raise ConfigError(NO_PRESETS)
    if not matches:
        raise ConfigError(
            f"there is no preset {name!r}{nearest(bare, [p.name for p in presets])}; "
            "see `losskit presets`"
        )
    if len(matches) > 1:
        raise ConfigError(
            f"several plugins supply the preset {bare!r}: "
            + ", ".join(f"{p.namespace}/{p.name}" for p in matches)
        )
    function = resolve_target(matches[0].target)
    known = inspect.signature(function).parameters
    for key in options or {}:
        if key not in known:
            raise ConfigError(
                f"preset {bare!r} has no loss_config key {key!r}{nearest(str(key), known)}; "
                f"it takes {', '.join(known) or 'none'}"
            )
    # A weight may be adaptive wherever it is a number; what becomes of it, its term says.
    plain = {
        key: value
        for key, value in (options or {}).items()
        if not (key.endswith("weight") and isinstance(value, Mapping))
    }
    check_options(f"preset {bare!r}", known, plain)
    try:
        return matches[0], function(**(options or {}))
    except TypeError as error:
        raise ConfigError(f"preset {bare!r}: {one_line(error)}") from error
