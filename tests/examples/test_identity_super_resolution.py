"""The example runs at toy length, says that its weights are random, and improves the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image


def test_runs(run_random: Callable[[str, str], str], tmp_path: Path) -> None:
    assert "its weights are RANDOM" in run_random("identity-super-resolution", "12")
    report = json.loads((tmp_path / "history.json").read_text())
    assert report["weights"] == "random"
    assert set(report["steps"][0]) == {"loss_charbonnier", "loss_id", "identity_crop"}
    assert report["steps"][-1]["loss_charbonnier"] < report["steps"][0]["loss_charbonnier"]
    for name in ("loss_id", "identity_crop"):  # the loss takes part: it is no 0, and it moves
        first, last = (report["steps"][step][name] for step in (0, -1))
        assert first > 1e-4
        assert abs(last - first) > 1e-3 * first
    for name, side in (("restored", 192), ("small", 48)):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.size == (side, side)
