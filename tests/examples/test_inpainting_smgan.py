"""The example trains, at toy length, as its README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from losskit.cli import main
from losskit_gan.trainer.recorder import read_metrics

FOLDER = Path(__file__).parents[2] / "examples" / "inpainting-smgan"
TOY = [
    "steps=3",
    "data.batch_size=2",
    "logging.every=1",
    "logging.checkpoint_every=0",
    "logging.tensorboard=false",
    "logging.samples=4",
    "fabric.accelerator=cpu",
    "out=run",
    "data.size=16",
    "model.generator.channels=4",
    "model.discriminator.channels=4",
]


def test_it_trains_and_writes_what_the_readme_names(tmp_path, monkeypatch, capsys):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    assert (
        main(["gan", "train", str(FOLDER / "config.yaml"), "--quiet", "--allow-import", *TOY]) == 0
    )
    rows = read_metrics(Path("run/metrics.csv"))
    assert [row["step"] for row in rows] == [1, 2, 3]
    names = {name for row in rows for name in row}
    assert {
        "loss_disc_fake",
        "loss_disc_real",
        "loss_gen",
        "loss_l1",
        "loss_hole",
        "loss_masked_tv",
    } <= names
    assert Path("run/samples/step-00000003.png").is_file()
