"""``losskit gan`` on the command line: order of arguments, exit codes, one-line errors."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from processes import imported_by
from toyruns import CONFIG, write_run

from losskit.cli import main
from losskit.discovery import extras
from losskit_train.run.loop import Trainer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(CONFIG)
    return tmp_path


def test_flags_and_overrides_in_any_order(folder, capsys):
    command = ["train", "--quiet", "c.yaml", "steps=1", "--seed", "7", "optimizer.lr=1e-3"]
    assert main([*command, "--out", "other"]) == 0
    written = yaml.safe_load(Path("other/config.yaml").read_text())
    assert (written["steps"], written["seed"], written["optimizer"]["lr"]) == (1, 7, 1e-3)
    assert "1 steps done: other/checkpoints/step-00000001.pt" in capsys.readouterr().out


def test_train_then_sample_then_resume(folder, capsys):
    assert main(["train", "c.yaml", "--quiet"]) == 0
    assert main(["sample", "run", "--count", "3", "--out", "one"]) == 0
    assert main(["sample", "run", "--count", "3", "--out", "two"]) == 0
    assert len(list(Path("one").glob("*.png"))) == 3
    for path in Path("one").iterdir():
        assert path.read_bytes() == (Path("two") / path.name).read_bytes()
    assert main(["sample", "run", "--interpolate", "4", "--count", "2"]) == 0
    with Image.open("samples/interpolation.png") as image:
        assert image.size == (4 * 8 + 3 * 2, 2 * 8 + 2)
    capsys.readouterr()
    assert main(["train", "c.yaml", "--quiet"]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert main(["train", "c.yaml", "--quiet", "--resume", "steps=3"]) == 0
    assert Path("run/checkpoints/step-00000003.pt").exists()
    written = Path("run/config.yaml").read_bytes()
    capsys.readouterr()
    assert main(["train", "c.yaml", "--quiet", "--resume", "steps=1"]) == 0
    assert capsys.readouterr().out.startswith("3 steps done: ")  # it was further already
    assert Path("run/config.yaml").read_bytes() == written


@pytest.mark.parametrize("command", [["train", "c.yaml", "--quiet"], ["sample", "run"]])
def test_a_folder_that_cannot_be_written_is_one_line(folder, capsys, monkeypatch, command):
    assert main(["train", "c.yaml", "--quiet", "steps=1"]) == 0
    capsys.readouterr()

    def refused(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    assert main([*command, "--out", "elsewhere/deep"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("losskit: elsewhere/deep")
    assert error.endswith(": Permission denied\n")
    assert error.count("\n") == 1
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main([*command, "--out", "elsewhere"]) == 1
    assert "out: there is no permission to write in ." in capsys.readouterr().err


def test_what_ctrl_c_prints_goes_on_with_the_same_run(folder, capsys, monkeypatch):
    real = Trainer._one_step

    def interrupted(self, batch):
        real(self, batch)
        os.kill(os.getpid(), signal.SIGINT)

    Path("a b.yaml").write_text(Path("c.yaml").read_text())
    command = ["train", "a b.yaml", "optimizer.lr=1e-3", "steps=3", "--out", "other"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        assert main([*command, "--seed", "7", "--precision", "bf16-mixed", "--quiet"]) == 130
    out = capsys.readouterr().out
    assert out.startswith("stopped at step 1, saved other/checkpoints/step-00000001.pt; ")
    program, *words = shlex.split(out.partition("go on with: ")[2])
    assert program == "losskit"
    assert main(words) == 0
    written = yaml.safe_load(Path("other/config.yaml").read_text())
    assert (written["steps"], written["seed"], written["optimizer"]["lr"]) == (3, 7, 1e-3)
    assert written["fabric"]["precision"] == "bf16-mixed"


def test_check_runs_nothing(folder, capsys):
    assert main(["train", "c.yaml", "--check"]) == 0
    assert "c.yaml is fine: 3 images, 2 steps" in capsys.readouterr().out
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "c.yaml", "optimizer.lrr=1"], "did you mean 'optimizer.lr'?"),
        (["train", "none.yaml"], "cannot read none.yaml"),
        (["train", "c.yaml", "data.images=none"], "there is no folder 'none'"),
        (["train", "c.yaml", "--precision", "8bit"], "fabric.precision must be one of"),
        (["train", "c.yaml", "model.generator.type=my:Net"], "is code that the config names"),
        (["sample", "nowhere"], "there is no whole checkpoint in nowhere"),
        (["sample", "nowhere", "--out", "c.yaml"], "--out: c.yaml is a file, not a folder"),
        (["train", "c.yaml", "--out", "c.yaml"], "out: c.yaml is a file, not a folder"),
        (["train", "c.yaml", "--check", f"seed={10**20}"], "c.yaml: seed must be at most 9223372"),
        (["train", "c.yaml", "--check", "optimizer.lr=inf"], "optimizer.lr must be finite"),
        (["sample", "nowhere", "--seed", f"{10**20}"], "--seed must be from 0 to 9223372"),
        (["sample", "nowhere", "--count", "0"], "--count must be at least 1, not 0"),
        (["sample", "nowhere", "--batch", "0"], "--batch must be at least 1, not 0"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(folder, capsys, arguments, message):
    assert main([*arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def super_resolution(folder):
    """A run whose generator takes images, and images of two sizes in folders."""
    config = {
        **CONFIG,
        "steps": 1,
        "model": {
            "generator": {"type": "SuperResolver", "scale": 2, "channels": 4, "blocks": 1},
            "inputs": ["lq"],
        },
        "gan_loss": None,
        "gen_auxiliary_loss": {"type": "L1Loss"},
        "data": {**CONFIG["data"], "task": "super-resolution"},
    }
    Path("sr.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "sr.yaml", "--quiet"]) == 0
    for name, size in (("x/a.png", 4), ("y/a.png", 4), ("y/a.jpg", 6), ("b.png", 4)):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(size + len(name)).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(Path("in", name))
    return folder


def test_no_image_made_of_an_input_is_lost(super_resolution, capsys):
    command = ["sample", "run", "--input", "in"]
    assert main([*command, "--out", "one", "--batch", "1"]) == 0
    made = {str(p.relative_to("one")) for p in Path("one").rglob("*.png")}
    assert made == {"x/a.png", "y/a.png.png", "y/a.jpg.png", "b.png"}
    with Image.open("one/y/a.jpg.png") as image:
        assert image.size == (12, 12)
    assert main([*command, "--out", "two", "--batch", "3", "--device", "cpu"]) == 0
    for name in made:
        one, two = (np.asarray(Image.open(Path(out, name)), int) for out in ("one", "two"))
        assert np.abs(one - two).max() <= 1  # batches may round otherwise
    before = Path("in/b.png").read_bytes()
    capsys.readouterr()
    for arguments, message in (
        (["--out", "in"], "in/b.png would be written over its input"),
        (["--grid"], "a grid needs images of one size; these have 2"),
        (["--interpolate", "3"], "--interpolate is for a generator of noise"),
        (["--count", "3"], "--count is for a generator of noise"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--device", "abacus"], "--device abacus"),
    ):
        assert main([*command, *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert Path("in/b.png").read_bytes() == before
    assert main(["sample", "run", "--input", "in/x", "--grid", "--out", "sheet"]) == 0
    with Image.open("sheet/samples.png") as image:
        assert image.size == (8, 8)


INPAINTER = """
from torch import nn

class Fill(nn.Module):  # white in the hole, black elsewhere
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(__import__("torch").ones(1))

    def forward(self, lq, mask):
        assert (lq[:, :1] * mask == 0).all()  # grey
        return (2 * mask - 1).expand_as(lq) * self.gain
"""


@pytest.mark.parametrize("compose", [True, False])
def test_holes_are_drawn_for_a_generator_that_fills_them(folder, capsys, monkeypatch, compose):
    name = f"fillnets{compose}"
    Path(f"{name}.py").write_text(INPAINTER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = {
        **CONFIG,
        "steps": 1,
        "model": {
            "generator": {"type": f"{name}:Fill"},
            "inputs": ["lq", "mask"],
            "compose": compose,
            "ema": 0.0,
        },
        "gan_loss": None,
        "gen_auxiliary_loss": {"type": "L1Loss"},
        "optimizer": {"lr": 0.0},
        "data": {**CONFIG["data"], "task": "inpainting", "hole": [0.2, 0.3]},
    }
    Path("fill.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "fill.yaml", "--quiet", "--allow-import"]) == 0
    command = ["sample", "run", "--input", "images", "--allow-import"]
    for out, more in (("one", []), ("two", ["--batch", "2"]), ("three", ["--seed", "5"])):
        assert main([*command, "--out", out, *more]) == 0
    for path in sorted(Path("images").iterdir()):
        truth, one, two, three = (
            np.asarray(Image.open(Path(where, path.name)), int)
            for where in ("images", "one", "two", "three")
        )
        hole = (one == 255).all(axis=2)
        assert 0.15 < hole.mean() < 0.6
        assert (one[~hole] == (truth[~hole] if compose else 0)).all()
        assert (one == two).all()
        assert (one != three).any()
    capsys.readouterr()
    assert main(["sample", "run", "--allow-import"]) == 1
    assert "this generator takes images: give --input" in capsys.readouterr().err


def test_batches_of_noise_make_what_one_would(folder):
    assert main(["train", "c.yaml", "--quiet"]) == 0
    sheets = []
    for batch in ("2", "5"):
        command = ["sample", "run", "--count", "5", "--grid", "--out", batch]
        assert main([*command, "--batch", batch]) == 0
        sheets.append(np.asarray(Image.open(Path(batch, "samples.png")), int))
    assert np.abs(sheets[0] - sheets[1]).max() <= 1


def test_wrong_usage_is_exit_code_2(folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train"])
    assert stop.value.code == 2


def test_building_the_parser_imports_no_torch():
    code = (
        "import argparse\n"
        "from losskit_train.cli import configure_train, configure_demo\n"
        "configure_train(argparse.ArgumentParser()); configure_demo(argparse.ArgumentParser())"
    )
    assert imported_by(code, "torch") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accelerator", "cuda"], "fabric: "),
        (["--precision", "17"], "fabric"),
        (["--strategy", "nonsense"], "fabric"),
        (["--accelerator", "tpu"], "fabric: "),
        (["fabric.num_nodes=2"], "no launcher started this: use torchrun or srun"),
    ],
)
def test_check_looks_at_what_the_run_needs(folder, capsys, arguments, message):
    """Before anything is written, and before the run; on a machine without a card."""
    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("there is a card")
    for check in (["--check"], []):
        assert main(["train", "c.yaml", "--quiet", *check, *arguments]) == 1
        captured = capsys.readouterr()
        assert "is fine" not in captured.out
        assert message in captured.err
        assert captured.err.count("\n") == 1
        assert not Path("run").exists()


def test_check_says_what_is_not_installed(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    assert main(["train", "c.yaml", "--check"]) == 1
    assert "pip install 'losskit-train'" in capsys.readouterr().err
    assert not Path("run").exists()


def test_check_counts_what_is_left_out(folder, capsys):
    Path("images/notes.txt").write_text("not an image")
    Path("images/._0.png").write_bytes(b"not one either")
    assert main(["train", "c.yaml", "--check"]) == 0
    assert "3 images (1 other file left out), 2 steps" in capsys.readouterr().out


def test_the_demo_asks_once_for_all_that_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("losskit_train.demo.run.find_spec", lambda name: None)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    captured = capsys.readouterr()
    assert not captured.out
    needed = "skimage, matplotlib, rich, torchvision, lightning_fabric: pip install 'losskit-train[demo]'"
    assert needed in captured.err
    assert not (tmp_path / "demo").exists()


def test_hidden_files_are_no_input(super_resolution):
    Path("in/._b.png").write_bytes(b"what a Mac leaves behind")
    Path("in/.ipynb_checkpoints").mkdir()
    Path("in/.ipynb_checkpoints/c.png").write_bytes(Path("in/b.png").read_bytes())
    assert main(["sample", "run", "--input", "in", "--out", "one"]) == 0
    assert len(list(Path("one").rglob("*.png"))) == 4


def test_the_data_are_looked_at_before_weights_are_fetched(folder, capsys, monkeypatch):
    pretrained = pytest.importorskip("losskit_perceptual.networks.pretrained")
    asked = []

    def unreachable(*words, **options):
        asked.append(words)
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained.models.WeightsEnum, "get_state_dict", unreachable)
    perceptual = {
        "type": "PerceptualLoss",
        "layer_weights": {"0": 1.0},
        "data_info": {"pred": "fake", "target": "real"},
    }
    Path("p.yaml").write_text(yaml.safe_dump({**CONFIG, "gen_auxiliary_loss": perceptual}))
    assert main(["train", "p.yaml", "--check", "data.images=gone"]) == 1
    assert "data.images" in capsys.readouterr().err
    assert not asked
    assert main(["train", "p.yaml", "--check"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("losskit: PerceptualLoss: the weights of vgg19 need")
    assert "weights: random tries the rest without them" in line
    assert len(asked) == 1


def test_check_looks_for_tensorboard_and_a_compiler(folder, monkeypatch, capsys):
    def without_a_compiler(function):
        raise RuntimeError("InvalidCxxCompiler: no compiler was found")

    monkeypatch.setattr(torch, "compile", without_a_compiler)
    found = extras.is_installed
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "tensorboard" and found(name))
    for key, message in (
        ("logging.tensorboard=true", "logging.tensorboard needs tensorboard: pip install"),
        ("model.compile=true", "model.compile: torch.compile fails here"),
    ):
        for check in (["--check"], []):
            assert main(["train", "c.yaml", "--quiet", *check, key]) == 1
            assert message in capsys.readouterr().err
    assert not Path("run").exists()


def test_check_says_what_the_folder_holds(folder, capsys):
    assert main(["train", "c.yaml", "--quiet"]) == 0
    assert main(["train", "c.yaml", "--check"]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert main(["train", "c.yaml", "--check", "--resume", "steps=3"]) == 0
    assert main(["train", "c.yaml", "--check", "--resume", "data.batch_size=1"]) == 1
    assert "it was written with data.batch_size=2, not 1" in capsys.readouterr().err
