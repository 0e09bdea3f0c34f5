"""The example trains, at toy length, as its README says, and without second derivatives too."""

from __future__ import annotations

import re
from pathlib import Path

from losskit.cli import main

FOLDER = Path(__file__).parents[2] / "examples" / "r3gan"
NARROW = ("model.generator.max_channels=16", "model.discriminator.max_channels=16")


def test_it_trains_and_writes_what_the_readme_names(train_toy):
    rows = train_toy("r3gan", *NARROW)
    names = {name for row in rows for name in row}
    assert {"loss_disc", "loss_gen", "loss_r1_gp", "loss_r2_gp"} <= names
    assert main(["sample", "run", "--grid"]) == 0
    assert Path("samples/samples.png").is_file()


def test_finite_differences_in_place_of_the_preset_s_penalties(train_toy, tmp_path):
    """The README's YAML, added to the config as it says."""
    (terms,) = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    config = tmp_path / "config.yaml"
    config.write_text((FOLDER / "config.yaml").read_text() + terms)
    names = {name for row in train_toy(config, *NARROW) for name in row}
    assert {"loss_disc", "loss_r1_fd", "loss_r2_fd"} <= names
    assert not {"loss_r1_gp", "loss_r2_gp"} & names
