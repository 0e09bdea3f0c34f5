"""ExampleLoss for losskit.

What is exported is imported when it is first used, so that importing the package for its plugin
module does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "ExampleLoss": "losskit_example.losses",
    "example_loss": "losskit_example.losses",
}
__all__ = [
    "ExampleLoss",
    "example_loss",
]

if TYPE_CHECKING:
    from losskit_example.losses import (
        ExampleLoss,
        example_loss,
    )


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
