"""The loss atlas: what each installed loss sees, and what it costs, as a page to look at."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "DISTORTIONS": "losskit.atlas.distortions",
    "Distortion": "losskit.atlas.distortions",
    "Entry": "losskit.atlas.measure",
    "ImageLoss": "losskit.atlas.subjects",
    "find_image_losses": "losskit.atlas.subjects",
    "measure_loss": "losskit.atlas.measure",
    "write_page": "losskit.atlas.page",
}
__all__ = [
    "DISTORTIONS",
    "Distortion",
    "Entry",
    "ImageLoss",
    "find_image_losses",
    "measure_loss",
    "write_page",
]

if TYPE_CHECKING:
    from losskit.atlas.distortions import DISTORTIONS, Distortion
    from losskit.atlas.measure import Entry, measure_loss
    from losskit.atlas.page import write_page
    from losskit.atlas.subjects import ImageLoss, find_image_losses


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'losskit.atlas' has no attribute {name!r}")
