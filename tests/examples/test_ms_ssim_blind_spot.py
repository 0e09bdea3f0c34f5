"""MS-SSIM alone leaves a worse picture than with L1, though it calls it as good."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "ms-ssim-blind-spot"


def test_structure_is_found_and_brightness_is_not(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("skimage")
    argv = ["run.py", "--steps", "15", "--size", "164", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    runpy.run_path(str(FOLDER / "run.py"), run_name="__main__")
    result = json.loads((tmp_path / "result.json").read_text())
    alone, both = result["structure"], result["with-l1"]
    assert alone["ms_ssim"] > result["start"]["ms_ssim"] + 0.02
    assert alone["ms_ssim"] > both["ms_ssim"] - 0.02
    assert both["psnr"] > alone["psnr"] + 1
    assert (tmp_path / "structure" / "animation.gif").is_file()
    assert "MS-SSIM" in capsys.readouterr().out
