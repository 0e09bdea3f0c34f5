"""Descend on an image, or on a network's latent, under an objective; stop and go on exactly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "Descent": "losskit_lab.optimize.descent",
    "Run": "losskit_lab.optimize.run",
    "write_animation": "losskit_lab.optimize.animation",
}
__all__ = ["Descent", "Run", "write_animation"]

if TYPE_CHECKING:
    from losskit_lab.optimize.animation import write_animation
    from losskit_lab.optimize.descent import Descent
    from losskit_lab.optimize.run import Run


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'losskit_lab.optimize' has no attribute {name!r}")
