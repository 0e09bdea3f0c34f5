"""The three wishes meet in one objective; with random networks, which show the wiring only."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from PIL import Image

from losskit.cli import main

FOLDER = Path(__file__).parents[2] / "examples" / "identity-and-clip"


@pytest.fixture
def toy_objective(tmp_path: Path) -> Path:
    """The example's own, with random weights for those that need the network."""
    config = yaml.safe_load((FOLDER / "objective.yaml").read_text())
    for term in config["terms"]:
        if term["type"] in ("CLIPLoss", "FaceIdLoss"):
            term["weights"] = "random"
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_every_term_counts(tmp_path, toy_objective, capsys) -> None:
    skimage = pytest.importorskip("skimage")
    photo = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png")
    face = tmp_path / "face.png"
    photo.crop((160, 40, 288, 168)).save(face)
    argv = [
        "--init",
        str(face),
        "--steps",
        "3",
        "--animation",
        "none",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["optimize", str(toy_objective), *argv]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    names = {"loss_clip", "loss_identity", "loss_near", "loss_tv"}
    assert names <= set(rows[0])
    assert float(rows[0]["loss_identity"]) == pytest.approx(0, abs=1e-4)
    assert float(rows[0]["loss_near"]) == 0
    assert float(rows[-1]["loss_near"]) > 0  # CLIP has moved it
    total = sum(float(rows[-1][name]) for name in names)
    assert float(rows[-1]["total"]) == pytest.approx(total, rel=1e-4)
    moved = str(tmp_path / "out" / "result.png")
    argv = ["balance", str(toy_objective), "--pred", moved, "--target", str(face)]
    assert main([*argv, "--ratio", "loss_clip=2,loss_identity=1"]) == 0
    assert "loss_identity" in capsys.readouterr().out
