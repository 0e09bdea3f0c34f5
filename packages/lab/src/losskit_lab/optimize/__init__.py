"""Descend on an image, or on a network's latent, under an objective; stop and go on exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

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

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
