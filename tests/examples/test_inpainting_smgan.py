"""The example trains, at toy length, as its README says."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "inpainting-smgan"


def test_it_trains_and_writes_what_the_readme_names(train_toy, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    small = ("data.size=16", "model.generator.channels=4", "model.discriminator.channels=4")
    rows = train_toy("inpainting-smgan", "--allow-import", *small)
    names = {name for row in rows for name in row}
    assert {
        "loss_disc_fake",
        "loss_disc_real",
        "loss_gen",
        "loss_l1",
        "loss_hole",
        "loss_masked_tv",
    } <= names
