"""Validation while training: the values of ``losskit eval``, the best checkpoint, nothing disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from losskit.cli import main
from losskit.errors import ConfigError
from losskit_train.config.training import load_train_config
from losskit_train.data.samples import shrink
from losskit_train.output.recorder import read_metrics
from losskit_train.results.inference import generator_of, write_samples
from losskit_train.run import checkpoints
from losskit_train.run.loop import Trainer

NETS = """
import torch
from torch import nn

class Larger(nn.Module):
    def __init__(self, scale=2, channels=3):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.Dropout(0.1), nn.ReLU(),
            nn.Conv2d(8, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale),
        )

    def forward(self, lq):
        return self.net(lq)

class Fixed(Larger):
    def forward(self, lq):
        return nn.functional.adaptive_avg_pool2d(super().forward(lq), 8)

class Same(nn.Module):
    def __init__(self, multiple=1):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.multiple = multiple

    def forward(self, lq, *more):
        if lq.shape[-1] % self.multiple:
            raise ValueError(f"width {lq.shape[-1]} is no multiple of {self.multiple}")
        return self.net(lq) + sum(part.mean() for part in more)
"""
SIZES = [(21, 18), (21, 18), (16, 30)]
SCORE = "MSELoss"
METRICS = ["PSNRLoss", SCORE, {"type": "SSIMLoss", "window_size": 5, "loss_name": "ssim"}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images to train on and others to validate on, whose sides no scale divides."""
    (tmp_path / "usernets.py").write_text(NETS)
    random = np.random.default_rng(0)
    for name, sizes in {"train": [(16, 16)] * 5, "kept": SIZES}.items():
        (tmp_path / name).mkdir()
        for index, size in enumerate(sizes):
            pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("usernets", None)


def config(validate=None, **changes):
    data = {"images": "train", "size": 8, "batch_size": 4, "task": "super-resolution"}
    base = {
        "out": "run",
        "steps": 9,
        "allow_import": True,
        "model": {"generator": {"type": "usernets:Larger"}, "inputs": ["lq"], "ema": 0.5},
        "gen_auxiliary_loss": {
            "type": "L1Loss",
            "data_info": {"pred": "fake_imgs", "target": "real_imgs"},
        },
        "data": {**data, **changes.pop("data", {})},
        "optimizer": {"lr": 0.02},
        "logging": {"every": 4, "samples_every": 0, "checkpoint_every": 3, "tensorboard": False},
        "fabric": {"accelerator": "cpu"},
    }
    if validate is not None:
        base["validate"] = {"images": "kept", "every": 2, "metrics": METRICS, **validate}
    return {**base, **changes}


def run(validate=None, resume=False, **changes):
    return Trainer(load_train_config(config(validate, **changes))).run(resume=resume)


def rows(out="run"):
    return {int(row["step"]): row for row in read_metrics(checkpoints.Path(out) / "metrics.csv")}


def evaluated(capsys, pred, target, *options):
    capsys.readouterr()
    losses = ["--loss", "PSNRLoss", "--loss", SCORE, "--loss", "SSIMLoss:window_size=5"]
    assert main(["eval", str(pred), str(target), *losses, *options, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    return [summary[name]["mean"] for name in ("PSNRLoss", SCORE, "SSIMLoss:window_size=5")]


def logged(row):
    return [row[f"val_{name}"] for name in ("PSNRLoss", SCORE, "ssim")]


@pytest.mark.parametrize("options", [{}, {"crop_border": 2, "y_channel": True}])
def test_values_are_those_of_eval_on_saved_pictures(folder, capsys, options):
    run(options)
    for path in sorted((folder / "kept").iterdir()):  # as benchmarks are made
        pixels = np.array(Image.open(path))
        height, width = (side - side % 2 for side in pixels.shape[:2])
        right = pixels[:height, :width]
        small = shrink(torch.from_numpy(right.copy()).permute(2, 0, 1)[None].float() / 255, 2)[0]
        for name, picture in (("right", right), ("small", small.mul(255).round().byte())):
            (folder / name).mkdir(exist_ok=True)
            array = picture if name == "right" else picture.permute(1, 2, 0).numpy()
            Image.fromarray(array).save(folder / name / path.name)
    write_samples(folder / "run", folder / "made", inputs=folder / "small", allow_import=True)
    flags = ["--crop-border", "2", "--y-channel"] if options else []
    found = evaluated(capsys, folder / "made", folder / "right", *flags)
    assert logged(rows()[9]) == pytest.approx(found, rel=1e-5)


def test_pairs_and_grey(folder, capsys):
    for name, sizes in {"inputs": [(8, 9), (5, 7)], "images": [(24, 27), (15, 21)]}.items():
        (folder / name).mkdir()
        random = np.random.default_rng(1)
        for index, size in enumerate(sizes):
            pixels = random.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    pairs = {"images": "images", "inputs": "inputs"}
    generator = {"type": "usernets:Larger", "scale": 3, "channels": 1}
    run(
        pairs,
        data={"task": "paired", **pairs, "size": 15, "channels": 1, "value_range": [0, 1]},
        model={"generator": generator, "inputs": ["lq"]},
    )
    write_samples(folder / "run", folder / "made", inputs=folder / "inputs", allow_import=True)
    found = evaluated(capsys, folder / "made", folder / "images")
    assert logged(rows()[9]) == pytest.approx(found, rel=1e-5)


def test_holes_noise_and_squares_from_the_middle(folder):
    model = {"generator": {"type": "usernets:Same", "multiple": 8}, "inputs": ["lq", "mask"]}
    data = {"task": "inpainting"}
    with pytest.raises(ConfigError, match=r"fails on .*no multiple of 8\): give validate.size"):
        run({}, model=model, data=data)
    assert not (folder / "run").exists()
    run({"size": 16}, model=model, data=data)
    run({"size": 16}, out="pasted", model={**model, "compose": True}, data=data)
    run(
        {"size": 16},
        out="noise",
        model={**model, "inputs": ["lq", "mask", "noise"], "latent_dim": 3},
        data=data,
    )
    plain, pasted = rows()[9], rows("pasted")[9]
    assert pasted[f"val_{SCORE}"] < plain[f"val_{SCORE}"]  # around the hole it is the image
    assert np.isfinite(rows("noise")[9]["val_ssim"])


def test_when_and_in_which_rows(folder):
    run({"every": 3, "keep_best": SCORE})
    table = rows()
    assert sorted(table) == [3, 4, 6, 8, 9]
    assert [step for step, row in table.items() if f"val_{SCORE}" in row] == [3, 6, 9]
    best = min((3, 6, 9), key=lambda step: table[step][f"val_{SCORE}"])
    (path,) = checkpoints.all_of(folder / "run" / "best")
    assert path.name == f"step-{best:08d}.pt"
    generator_of(folder / "run" / "best", allow_import=True)


def test_training_is_left_alone_and_goes_on_exactly(folder, same):
    untouched = checkpoints.load(run(out="plain"))
    watched = checkpoints.load(run({"keep_best": SCORE}))
    for state in (untouched, watched):
        state.pop("config")
    same(watched, untouched)
    table = rows()
    best = checkpoints.all_of(folder / "run" / "best")[0]

    class Dies(Trainer):
        def _afterwards(self, bar):
            path = super()._afterwards(bar)
            if self.step == 8:  # after a validation, before a checkpoint
                raise KeyboardInterrupt
            return path

    with pytest.raises(KeyboardInterrupt):
        Dies(load_train_config(config({"keep_best": SCORE}, out="again"))).run()
    run({"keep_best": SCORE}, out="again", resume=True)
    assert rows("again") == table
    (again,) = checkpoints.all_of(folder / "again" / "best")
    assert again.name == best.name


def test_a_best_checkpoint_is_of_its_own_validation(folder):
    run({"keep_best": SCORE}, steps=3)
    with pytest.raises(ConfigError, match="already holds a run"):
        run({"keep_best": SCORE})
    # Better than everything that comes, but of other images.
    (path,) = checkpoints.all_of(folder / "run" / "best")
    seal = path.with_suffix(".seal.json")
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {"note": {"of": "x", "value": -1}}))
    run({"keep_best": SCORE}, steps=4, resume=True)
    (path,) = checkpoints.all_of(folder / "run" / "best")
    assert path.name == "step-00000004.pt"
    # And of the same images, none is.
    note = {**checkpoints.note_of(path), "value": -1.0}
    seal = path.with_suffix(".seal.json")
    seal.write_text(json.dumps(json.loads(seal.read_text()) | {"note": note}))
    run({"keep_best": SCORE}, steps=6, resume=True)
    assert checkpoints.all_of(folder / "run" / "best") == [path]


def test_only_a_best_checkpoint_is_there(folder):
    run({"keep_best": SCORE}, steps=2)
    for path in (folder / "run" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="holds a run's best checkpoint"):
        run({"keep_best": SCORE})
    run({"keep_best": SCORE}, resume=True)


@pytest.mark.parametrize(
    ("validate", "message"),
    [
        ({"images": "nowhere"}, "validate.images: there is no folder 'nowhere'"),
        ({"metrics": ["L1Lost"]}, "validate.metrics: .*did you mean 'L1Loss'"),
        ({"metrics": ["L1Loss:sise=3"]}, "validate.metrics: L1Loss"),
        ({"metrics": ["GANLoss"]}, "validate.metrics: GANLoss"),
        ({"metrics": []}, "validate.metrics is empty"),
        ({"metrics": ["L1Loss", "L1Loss"]}, "has 'L1Loss' twice"),
        ({"metrics": [3]}, "write a loss's name"),
        ({"keep_best": "ssm"}, "validate.keep_best must be one of .*did you mean 'ssim'"),
        ({"inputs": "kept"}, "has no use for validate.inputs"),
        ({"size": 5}, "validate.size 5 must be a multiple of data.scale 2"),
        ({"crop_border": 12}, r"validate: .*a border of 12 leaves nothing"),
        ({"every": 0}, "validate.every must be at least 1"),
        ({"metrics": ["MSSSIMLoss"]}, "validate: .*MSSSIMLoss"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_written(folder, validate, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(validate)
    assert "\n" not in str(caught.value)
    assert not (folder / "run").exists()


def test_what_it_is_not_for(folder):
    with pytest.raises(ConfigError, match=r"data.task 'generation' has not"):
        run({}, data={"task": "generation"})
    fixed = {"generator": {"type": "usernets:Fixed"}, "inputs": ["lq"]}
    with pytest.raises(ConfigError, match=r"0.png the generator makes 8x8 with .*, not 18x20"):
        run({}, model=fixed)
    with pytest.raises(ConfigError, match=r"'paired' needs validate.inputs"):
        run({}, data={"task": "paired", "inputs": "train"})


def test_a_bad_image_is_told_at_once(folder):
    (folder / "kept" / "9.png").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"cannot read .*9.png") as caught:
        run({}, data={"skip_bad": True})
    assert "skip_bad" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_processes_share_the_images(folder, strategy):
    import yaml

    plan = config({"keep_best": SCORE}, allow_import=False, out=strategy, steps=4)
    (folder / "c.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "losskit", "train", "c.yaml", "--quiet"]
    done = subprocess.run(
        [*command, "--allow-import", "--devices", "2", "--strategy", strategy],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    out = folder / strategy
    (best,) = checkpoints.all_of(out / "best")
    noted = checkpoints.note_of(best)["value"]
    step = checkpoints.load(best)["step"]
    assert rows(out)[step][f"val_{SCORE}"] == pytest.approx(noted, rel=1e-6)
    # One process alone has the same of the same generator.
    trained = load_train_config(config({"keep_best": SCORE}))
    from losskit_train.run.validation import Validation

    alone = Validation(trained, latent_dim=None)
    generator, _ = generator_of(best, allow_import=True)
    values = alone(generator, torch.device("cpu"))
    assert values[f"val_{SCORE}"] == pytest.approx(noted, rel=1e-5)
