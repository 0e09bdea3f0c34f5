"""What tests of several files hold states against each other with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


def _same(left: Any, right: Any, path: str = "") -> None:
    """Assert that two states are equal bit for bit, types and orders too; ``path`` is where."""
    assert isinstance(left, dict) or type(left) is type(right), path
    if isinstance(left, dict):
        assert list(left) == list(right), path
        for key in left:
            _same(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), path
        for index, pair in enumerate(zip(left, right, strict=True)):
            _same(*pair, f"{path}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype, path
        assert torch.equal(left, right), path
    else:
        assert left == right or (left != left and right != right), path


@pytest.fixture
def same() -> Callable[..., None]:
    """Assert that two states are equal bit for bit."""
    return _same
