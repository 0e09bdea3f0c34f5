"""Placeholder until the shared frozen backbones land: a step's scope that shares nothing yet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def shared_features() -> Iterator[None]:
    """The scope of one step."""
    yield
