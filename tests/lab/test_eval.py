"""``losskit eval`` on files, against numpy, scikit-image and scipy."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import skimage.color
import skimage.metrics
import torch
from PIL import Image

from losskit.cli import main
from losskit.cli.arguments import parse_loss, parse_range
from losskit.errors import ConfigError
from losskit.images import pairs as reading
from losskit.images.pairs import batches
from losskit.objectives.scoring import Scorer, student_t, summarise
from losskit_lab.evaluate.heatmaps import colour


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Five pairs of two sizes, so that batches are broken up."""
    rng = np.random.default_rng(0)
    for index, width in enumerate((16, 16, 16, 20, 16)):
        target = rng.integers(0, 256, (16, width, 3), dtype=np.uint8)
        pred = np.clip(target + rng.normal(0, 5 + 5 * index, target.shape), 0, 255)
        for folder, array in (("pred", pred.astype(np.uint8)), ("target", target)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"{index}.png")
    return tmp_path / "pred", tmp_path / "target"


def arrays(folders: tuple[Path, Path]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        tuple(np.array(Image.open(f / f"{i}.png")) / 255 for f in folders)  # type: ignore[misc]
        for i in range(5)
    ]


def run_json(capsys: pytest.CaptureFixture[str], *argv: object) -> dict:
    assert main(["eval", *map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_values_are_those_of_numpy_and_skimage(folders, capsys) -> None:
    result = run_json(capsys, *folders)
    assert result["schema"] == 1
    for row, (pred, target) in zip(result["images"], arrays(folders), strict=True):
        assert row["L1Loss"] == pytest.approx(np.abs(pred - target).mean(), rel=1e-5)
        psnr = skimage.metrics.peak_signal_noise_ratio(target, pred, data_range=1)
        assert row["PSNRLoss"] == pytest.approx(-psnr, rel=1e-4)


def test_perceptual_losses_are_offered(folders, capsys) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.image")
    for folder in folders:
        for file in folder.iterdir():
            Image.open(file).resize((64, 64)).save(file)
    losses = [
        "SSIMLoss",
        "FeatureDistance",
        "PerceptualLoss:vgg_type=vgg11,weights=random,data_range=1",
    ]
    result = run_json(capsys, *folders, *(a for loss in losses for a in ("--loss", loss)))
    for row, pair in zip(result["images"], arrays(folders), strict=True):
        pred, target = (torch.tensor(x).permute(2, 0, 1)[None] for x in pair)
        similarity = torchmetrics.structural_similarity_index_measure(pred, target, data_range=1.0)
        assert row["SSIMLoss"] == pytest.approx(1 - float(similarity), abs=0.02)
        assert row["FeatureDistance"] > 0
        assert any(value > 0 for name, value in row.items() if name.startswith("PerceptualLoss"))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_batches_change_nothing(folders, capsys, batch) -> None:
    losses = ["--loss", "CharbonnierLoss:eps=1e-6", "--loss", "L1Loss:reduction=sum"]
    result = run_json(capsys, *folders, *losses, "--batch", batch)
    sums = [np.abs(pred - target).sum() for pred, target in arrays(folders)]
    assert [r["L1Loss:reduction=sum"] for r in result["images"]] == pytest.approx(sums, rel=1e-5)
    roots = [np.sqrt((pred - target) ** 2 + 1e-6).mean() for pred, target in arrays(folders)]
    values = [r["CharbonnierLoss:eps=1e-6"] for r in result["images"]]
    assert values == pytest.approx(roots, rel=1e-5)


def test_unreduced_form_that_is_no_mean_is_not_trusted() -> None:
    scorer = Scorer({"type": "L1Loss"}, "cpu")
    scorer.unreduced = Scorer({"type": "MSELoss"}, "cpu").unreduced  # another loss's values
    pred, target = torch.rand(2, 3, 3, 4, 4)
    expected = (pred - target).abs().flatten(1).mean(1).tolist()
    for _ in range(2):
        assert scorer(pred, target, ["a", "b", "c"]) == pytest.approx(expected)


def test_neighbours_of_one_size_are_batched() -> None:
    sizes = [8, 8, 8, 8, 9, 8]
    items = [
        (str(i), torch.full((1, 3, 8, w), i / 10.0), torch.zeros(1, 3, 8, w))
        for i, w in enumerate(sizes)
    ]
    found = list(batches(items, 3))
    assert [batch.names for batch in found] == [["0", "1", "2"], ["3"], ["4"], ["5"]]
    assert torch.equal(found[0].pred[2], items[2][1][0])


def test_range_reaches_the_loss(folders, capsys) -> None:
    plain = run_json(capsys, *folders)["summary"]["L1Loss"]["mean"]
    wide = run_json(capsys, *folders, "--range=-1,1")["summary"]["L1Loss"]["mean"]
    assert wide == pytest.approx(2 * plain, rel=1e-5)


def test_losses_are_told_the_range(folders, capsys) -> None:
    """Similarity does not depend on what black and white are called; a range that is given stays."""
    narrow = ["--loss", "SSIMLoss:window_size=7"]
    values = [
        [
            row["SSIMLoss:window_size=7"]
            for row in run_json(capsys, *folders, *narrow, *more)["images"]
        ]
        for more in ([], ["--range=-1,1"], ["--range=0,255"])
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    assert values[2] == pytest.approx(values[0], rel=1e-4)
    own = "SSIMLoss:window_size=7,data_range=2"
    given = run_json(capsys, *folders, "--loss", own)["images"][0][own]
    assert given != pytest.approx(values[0][0], rel=1e-3)


def test_psnr_does_not_depend_on_the_range(folders, capsys) -> None:
    ways = ([], ["--range=-1,1"], ["--range=0,255"])
    plain, wide, bytes_ = (
        [row["PSNRLoss"] for row in run_json(capsys, *folders, *way)["images"]] for way in ways
    )
    assert wide == pytest.approx(plain, rel=1e-4)  # it was 6.02 dB low
    assert bytes_ == pytest.approx(plain, rel=1e-4)


def test_benchmark_options_are_those_of_skimage(folders, capsys) -> None:
    pred, target = folders
    for file in pred.iterdir():
        file.rename(file.with_name(f"{file.stem}x4.png"))
    options = ["--crop-border", 3, "--y-channel", "--pred-suffix", "x4"]
    result = run_json(capsys, *folders, *options)
    assert [row["image"] for row in result["images"]] == list("01234")
    for index, row in enumerate(result["images"]):
        files = (pred / f"{index}x4.png", target / f"{index}.png")
        luma = [
            skimage.color.rgb2ycbcr(np.array(Image.open(f)))[3:-3, 3:-3, 0] / 255 for f in files
        ]
        psnr = skimage.metrics.peak_signal_noise_ratio(luma[1], luma[0], data_range=1)
        assert row["PSNRLoss"] == pytest.approx(-psnr, rel=1e-4)
    assert main(["eval", *map(str, folders), "--pred-suffix", "x4", "--crop-border", "8"]) == 1
    assert "'0': a border of 8 leaves nothing of 16×16 pixels" in capsys.readouterr().err


def test_terms_of_an_objective_are_columns(folders, tmp_path, capsys) -> None:
    config = tmp_path / "objective.yaml"
    config.write_text(
        "terms: [{type: L1Loss, loss_weight: 2}, {type: MSELoss}, {type: GradientLoss, start: 5}]"
    )
    result = run_json(capsys, *folders, "--objective", config)
    assert list(result["images"][0]) == ["image", "total", "loss_l1", "loss_mse"]
    for row, (pred, target) in zip(result["images"], arrays(folders), strict=True):
        l1, mse = 2 * np.abs(pred - target).mean(), np.square(pred - target).mean()
        assert row["loss_l1"] == pytest.approx(l1, rel=1e-5)
        assert row["total"] == pytest.approx(l1 + mse, rel=1e-5)
    later = run_json(capsys, *folders, "--objective", config, "--iteration", 5, "--loss", "L1Loss")
    assert {"loss_gradient", "L1Loss"} <= later["images"][0].keys()
    config.write_text("terms: [{type: SSIMLoss, window_size: 99}]")
    assert main(["eval", *map(str, folders), "--objective", str(config)]) == 1
    error = capsys.readouterr().err
    assert "objective.yaml on '0': " in error
    assert error.count("\n") == 1


def test_memory_is_bounded_by_area(tmp_path, monkeypatch) -> None:
    items = [(str(i), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)) for i in range(5)]
    assert [len(b.names) for b in batches(items, 8, area=130)] == [2, 2, 1]
    assert [len(b.names) for b in batches(items, 8, area=10)] == [1] * 5
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    read = []
    monkeypatch.setattr(reading, "_AREA", 100)
    monkeypatch.setattr(
        reading, "read_image", lambda path, size: read.append(path) or torch.zeros(1, 3, 8, 8)
    )
    pairs = reading.load_pairs([(str(i), *[tmp_path / "a.png"] * 2) for i in range(9)], 4)
    next(pairs)
    assert len(read) <= 4  # two pairs ahead, not eight
    assert len(list(pairs)) == 8


def test_summary_is_students(folders, capsys) -> None:
    values = [3.0, 4.0, 8.0, 1.0]
    summary = summarise(values)
    low, high = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert summary["ci95"] == pytest.approx((high - low) / 2)
    assert summarise([2.0]) == {"mean": 2.0, "std": None, "ci95": None, "n": 1}


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 999])
def test_student_t_is_scipys(freedom) -> None:
    assert student_t(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-8)


def test_csv_and_table(folders, tmp_path, capsys) -> None:
    out = tmp_path / "t.csv"
    assert main(["eval", *map(str, folders), "--loss", "MSELoss", "--csv", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["image", "MSELoss"]
    assert lines[-2].split()[0] == "mean"
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["image"] for row in rows] == ["0", "1", "2", "3", "4", "mean", "ci95"]
    values = [float(row["MSELoss"]) for row in rows]
    assert values[5] == pytest.approx(np.mean(values[:5]))
    wanted = scipy.stats.t.ppf(0.975, 4) * scipy.stats.sem(values[:5])
    assert values[6] == pytest.approx(wanted)
    assert float(rows[0]["MSELoss"]) < float(rows[4]["MSELoss"])
    assert main(["eval", *map(str, folders), "--csv", str(tmp_path / "no" / "t.csv")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_two_files_make_one_row(folders, capsys) -> None:
    result = run_json(capsys, folders[0] / "1.png", folders[1] / "1.png")
    assert [row["image"] for row in result["images"]] == ["1.png"]
    assert result["summary"]["L1Loss"]["ci95"] is None


def test_maps(folders, tmp_path, capsys) -> None:
    out = tmp_path / "maps"
    argv = [
        "eval",
        *map(str, folders),
        "--loss",
        "L1Loss",
        "--loss",
        "PSNRLoss",
        "--maps",
        str(out),
    ]
    assert main(argv) == 0
    assert "PSNRLoss gives no value per pixel" in capsys.readouterr().err
    assert sorted(path.name for path in (out / "L1Loss").iterdir()) == [
        f"{i}.png" for i in range(5)
    ]
    scale = {
        row["image"]: row for row in csv.DictReader((out / "scales.csv").read_text().splitlines())
    }["3"]
    pred, target = arrays(folders)[3]
    error = np.abs(pred - target).mean(-1)
    assert float(scale["value_at_the_brightest"]) == pytest.approx(error.max(), rel=1e-5)
    picture = np.array(Image.open(out / "L1Loss" / "3.png"))
    brightest = np.unravel_index(error.argmax(), error.shape)
    assert tuple(picture[brightest]) == (254, 232, 56)


def test_the_map_of_ssim(folders, tmp_path, capsys) -> None:
    out = tmp_path / "maps"
    loss = "SSIMLoss:padding=same,spatial=true,window_size=3"
    assert main(["eval", *map(str, folders), "--loss", loss, "--maps", str(out)]) == 0
    assert "no value per pixel" not in capsys.readouterr().err
    assert len(list(out.glob("SSIMLoss*/*.png"))) == 5


def test_maps_that_cannot_be_written_are_one_line(folders, tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    loss = ["--loss", "PSNRLoss:reduction=mean"]  # no map, so nothing is written before the scales
    assert main(["eval", *map(str, folders), *loss, "--maps", str(tmp_path / "file" / "m")]) == 1
    assert f"cannot write to {tmp_path / 'file' / 'm'}" in capsys.readouterr().err


def test_colours_grow_lighter() -> None:
    lightness = (
        colour(torch.linspace(0, 1, 50)[None])
        .mul(torch.tensor([0.2, 0.7, 0.1])[:, None, None])
        .sum(0)
    )
    assert (lightness.diff() > 0).all()


def test_wrong_losses_are_one_line(folders, refused) -> None:
    pair = ["eval", *folders]
    refused([*pair, "--loss", "L1Composition"], "no loss is called 'L1Composition'; did you mean")
    refused([*pair, "--loss", "L1CompositionLoss"], "does not compare two images")
    refused([*pair, "--loss", "L1Loss:reduction"], "write options as key=value")
    refused([*pair, "--loss", "L1Loss:reduction=none"], "leave out reduction")


def test_wrong_options_are_one_line(folders, refused) -> None:
    pair = ["eval", *folders]
    refused([*pair, "--device", "warp"], "--device warp")
    refused([*pair, "--batch", "0"], "--batch must be at least 1, not 0")
    refused([*pair, "--workers", "0"], "--workers must be at least 1")


def test_wrong_images_are_one_line(folders, capsys) -> None:
    assert main(["eval", str(folders[0] / "0.png"), str(folders[1] / "3.png")]) == 1
    assert "the images' sizes differ, 16×16 and 20×16" in capsys.readouterr().err
    (folders[0] / "2.png").write_bytes(b"damaged")
    assert main(["eval", *map(str, folders)]) == 1
    assert "2.png as an image" in capsys.readouterr().err
    (folders[0] / "2.png").unlink()
    assert main(["eval", *map(str, folders)]) == 1
    assert "'2' has no partner" in capsys.readouterr().err


def test_options_are_parsed() -> None:
    assert parse_loss("A:b=1,c=x,d=true") == {"type": "A", "b": 1, "c": "x", "d": True}
    assert parse_range("-1,1") == (-1.0, 1.0)
    nested = parse_loss('A:w={"3": 1, "8": 0.5},n=[1, 2],c="x"')
    assert nested == {"type": "A", "w": {"3": 1, "8": 0.5}, "n": [1, 2], "c": "x"}
    with pytest.raises(ConfigError, match="not 'b'"):
        parse_loss("A:b")
    for wrong in ("1", "1,0", "a,b", "0,inf", "nan,1"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"LOW,HIGH|comes first|finite"):
            parse_range(wrong)


def test_names_of_files_cannot_steer_the_terminal(tmp_path, capsys) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (16, 16)).save(tmp_path / folder / "e\x1b[31mx.png")
    assert main(["eval", str(tmp_path / "a"), str(tmp_path / "b"), "--loss", "L1Loss"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"e\x1b[31mx" in out
