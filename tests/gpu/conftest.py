"""Tests of what only a CUDA device can break; ``LOSSKIT_REHEARSE=1`` runs the same bodies on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

_HERE = Path(__file__).parent
_REHEARSE = os.environ.get("LOSSKIT_REHEARSE") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("gpu")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul.allow_tf32
    cudnn = torch.backends.cudnn.allow_tf32
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = cudnn


@pytest.fixture
def device() -> torch.device:
    """The card; in a rehearsal, the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if not _REHEARSE:
        pytest.skip("there is no CUDA device; LOSSKIT_REHEARSE=1 runs it on the CPU")
    return torch.device("cpu")


@pytest.fixture
def cuda() -> torch.device:
    """The card, for questions that have no meaning on the CPU."""
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return torch.device("cuda")
