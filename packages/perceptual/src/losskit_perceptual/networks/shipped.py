"""Files that torchmetrics ships: LPIPS's calibrated heads and DISTS's weights of its terms."""

from __future__ import annotations

from pathlib import Path

from losskit.errors import WeightsError, nearest
from losskit.spec import NetworkFile
from losskit.weights import shipped_file

_FILES = {
    "lpips-alex": "functional/image/lpips_models/alex.pth",
    "lpips-vgg": "functional/image/lpips_models/vgg.pth",
    "lpips-squeeze": "functional/image/lpips_models/squeeze.pth",
    "dists": "functional/image/dists_models/weights.pt",
}
_INSTALL = "pip install 'torchmetrics>=1.8'"


def names() -> list[str]:
    """List the names that `file_of` knows."""
    return list(_FILES)


def file_of(name: str) -> NetworkFile:
    """Locate one of these files in torchmetrics.

    Raises:
        ValueError: there is no such file.
    """
    if name not in _FILES:
        raise ValueError(
            f"torchmetrics ships no {name!r}{nearest(name, _FILES)}; there is {', '.join(_FILES)}"
        )
    return shipped_file("torchmetrics", (_FILES[name],), install=_INSTALL)


def shipped_path(name: str, *, instead: str = "") -> Path:
    """The path of one of these files, to load it.

    Args:
        name: as ``file_of`` takes it.
        instead: what a caller can give instead of the file, for the error.

    Raises:
        WeightsError: torchmetrics is not installed, or lacks the file.
    """
    file = file_of(name)
    if not file.here:
        why = f"lacks {file.path}" if file.path else "is not installed"
        raise WeightsError(
            f"the weights {name!r} are read from torchmetrics, which {why}; run `{file.fetch}`"
            + (f", or give {instead}" if instead else "")
        )
    return Path(file.path)
