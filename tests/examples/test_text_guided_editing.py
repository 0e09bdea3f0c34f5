"""The example runs at toy length, says that its weights are random, and lowers its objective."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "text-guided-editing" / "run.py"


def test_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--steps", "3", "--out", tmp_path, "--weights", "random"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "CLIP's weights are RANDOM" in done.stdout
    report = json.loads((tmp_path / "history.json").read_text())
    assert report["weights"] == "random"
    assert len(report["steps"]) == 3
    assert set(report["steps"][0]) == {"loss_clip_directional", "loss_clip", "loss_l1"}
    totals = [sum(step.values()) for step in report["steps"]]
    assert totals[-1] < totals[0]
    with Image.open(tmp_path / "edited.png") as image:
        assert image.size == (224, 224)
