"""What tests of several files hold states against each other with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_python
from toyruns import write_images


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


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A folder with images, and ``run(jobs)``, which gives how each job's processes ended.

    See ``two_ranks.py`` beside this file.
    """
    if not torch.distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder / "images", 7, 10, 9)

    def run(jobs: list[dict[str, Any]]) -> tuple[Path, dict[str, list[Any]], str]:
        done = run_python(
            Path(__file__).with_name("two_ranks.py"),
            cwd=folder,
            input=json.dumps([{"world": 2, "event": None, **job} for job in jobs]),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        return folder, {name: codes for name, codes, _ in lines}, done.stderr + done.stdout

    return run
