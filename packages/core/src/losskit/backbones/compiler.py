"""Functions that compiled code calls without looking inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_F = TypeVar("_F", bound=Callable[..., object])


def uncompiled(function: _F) -> _F:
    """Mark a function that ``torch.compile`` must call as it is: ``torch.compiler.disable``.

    As torch itself does it where the compiler, which takes seconds to import, must not be loaded.
    """
    marked: Any = torch._disable_dynamo(function)  # type: ignore[attr-defined] # private
    same: _F = marked
    return same
