"""Values of a foreign config, by what they should be: nothing in it was checked by anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def section(config: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping under nested keys; empty where there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def number(config: Mapping[str, Any], key: str, default: float) -> float:
    """A finite number of at least 0, or the default."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return value if 0 <= value < math.inf else default


def whole(config: Mapping[str, Any], key: str, default: int = 0) -> int:
    """A whole number of at least 1 that a counter could hold, or the default."""
    value = number(config, key, default)
    return int(value) if 1 <= value < 2**63 and value == int(value) else default
