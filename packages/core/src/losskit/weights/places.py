"""The folder of weights files, and the path of each in it."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from losskit.spec import WeightsSpec


def cache_dir() -> Path:
    """Return the folder of weights files: ``$LOSSKIT_CACHE``, else torch's own ``hub/checkpoints``."""
    if own := os.environ.get("LOSSKIT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("TORCH_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"
    )
    return Path(base).expanduser() / "hub" / "checkpoints"


def weights_path(spec: WeightsSpec) -> Path:
    """Return the path where the file of a spec belongs, whether it is there or not."""
    name = Path(unquote(urlsplit(spec.url).path).rstrip("/.")).name or spec.name
    path = Path(name)
    # As torch.hub does: two files of one name, ours or somebody else's, must not meet.
    mark = spec.name if spec.sha256 is None else spec.sha256[:8]
    return cache_dir() / f"{path.stem}-{mark}{path.suffix}"
