"""The example runs at toy length, says that its weights are random, and improves the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from docblocks import assert_shown
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "identity-super-resolution" / "run.py"


def test_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--steps", "12", "--out", tmp_path, "--weights", "random"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "its weights are RANDOM" in done.stdout
    assert_shown(SCRIPT.with_name("README.md"), done.stdout)
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
