"""The example trains, at toy length, as its README says."""

from __future__ import annotations

from losskit.cli import main


def test_it_trains_and_writes_what_the_readme_names(train_toy):
    small = ("data.size=16", "model.generator.channels=4", "model.discriminator.channels=4")
    rows = train_toy("super-resolution", "gan_loss.start=1", *small)
    names = {name for row in rows for name in row}
    assert {"loss_disc", "loss_gen", "loss_l1", "loss_r1_gp"} <= names
    assert "loss_gen" not in rows[0]  # the discriminator has its say from step 1 on
    from PIL import Image

    Image.new("RGB", (9, 7), "navy").save("photo.png")
    assert main(["sample", "run", "--input", "photo.png", "--out", "enlarged"]) == 0
    with Image.open("enlarged/photo.png") as image:
        assert image.size == (18, 14)
