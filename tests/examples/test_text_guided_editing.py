"""The example runs at toy length, says that its weights are random, and lowers its objective."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def test_runs(run_random: Callable[[str, str], str], tmp_path: Path) -> None:
    assert "CLIP's weights are RANDOM" in run_random("text-guided-editing", "3")
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert len(rows) == 3
    names = {"loss_clip_directional", "loss_clip", "loss_l1"}
    assert set(rows[0]) == {"iteration", "total"} | names
    for row in rows:
        assert float(row["total"]) == pytest.approx(sum(float(row[name]) for name in names), 1e-4)
    assert float(rows[0]["loss_clip_directional"]) == pytest.approx(1, abs=1e-3)  # no change yet
    assert float(rows[-1]["total"]) < float(rows[0]["total"])
    for name in ("original.png", "result.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size == (224, 224)
