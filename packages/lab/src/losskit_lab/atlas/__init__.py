"""The loss atlas: what each installed loss sees, and what it costs, as a page to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "DISTORTIONS": "losskit_lab.atlas.distortions",
    "Distortion": "losskit_lab.atlas.distortions",
    "Entry": "losskit_lab.atlas.measure",
    "ImageLoss": "losskit_lab.atlas.subjects",
    "find_image_losses": "losskit_lab.atlas.subjects",
    "measure_loss": "losskit_lab.atlas.measure",
    "write_page": "losskit_lab.atlas.page",
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
    from losskit_lab.atlas.distortions import DISTORTIONS, Distortion
    from losskit_lab.atlas.measure import Entry, measure_loss
    from losskit_lab.atlas.page import write_page
    from losskit_lab.atlas.subjects import ImageLoss, find_image_losses

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
