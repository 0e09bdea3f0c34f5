"""The example trains, at toy length, as its README says."""

from __future__ import annotations

from pathlib import Path

from losskit.cli import main


def test_it_trains_and_writes_what_the_readme_names(train_toy):
    narrow = ("model.generator.max_channels=16", "model.discriminator.max_channels=16")
    rows = train_toy("faces-stylegan2", *narrow)
    names = {name for row in rows for name in row}
    assert {
        "loss_disc_fake",
        "loss_disc_real",
        "loss_gen",
        "loss_r1_gp",
        "loss_path_regular",
    } <= names
    assert Path("run/interpolations/step-00000003.png").is_file()
    command = ["sample", "run", "--interpolate", "3", "--count", "2"]
    assert main(command) == 0
    assert Path("samples/interpolation.png").is_file()
