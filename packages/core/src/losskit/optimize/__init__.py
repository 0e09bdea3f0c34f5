"""Descend on an image, or on a network's latent, under an objective; stop and go on exactly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Descent": "losskit.optimize.descent",
    "Run": "losskit.optimize.run",
    "write_animation": "losskit.optimize.animation",
}
__all__ = ["Descent", "Run", "write_animation"]

if TYPE_CHECKING:
    from losskit.optimize.animation import write_animation
    from losskit.optimize.descent import Descent
    from losskit.optimize.run import Run


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'losskit.optimize' has no attribute {name!r}")
