"""``losskit optimize`` and the descent behind it: closed forms, exact resuming, Ctrl-C."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from losskit import Objective
from losskit.cli import main
from losskit.errors import ConfigError, LosskitError
from losskit.images.pixels import read_image
from losskit_lab.optimize import Descent, Run, write_animation
from losskit_lab.optimize.run import _replace_log

OBJECTIVE = "terms:\n- {type: MSELoss}\n- {type: MaskedTVLoss, loss_weight: 0.01, start: 4}\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """An objective and a target of 12×16 pixels."""
    (tmp_path / "o.yaml").write_text(OBJECTIVE)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(tmp_path / "t.png")
    return str(tmp_path / "o.yaml"), str(tmp_path / "t.png")


def command(files: tuple[str, str], out: Path, *argv: str) -> list[str]:
    return ["optimize", files[0], "--target", files[1], "--out", str(out), *argv]


def run(files: tuple[str, str], out: Path, *argv: str) -> int:
    return main(command(files, out, *argv))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_finds_the_minimum_that_is_known(optimizer) -> None:
    """The minimum of (x - a)² + 3 (x - b)² is (a + 3b) / 4."""
    a, b = torch.rand(2, 1, 3, 4, 4).unbind()
    objective = Objective(
        [
            {"type": "MSELoss"},
            {"type": "MSELoss", "loss_weight": 3, "data_info": {"pred": "pred", "target": "b"}},
        ]
    )
    descent = Descent(
        objective, torch.zeros(1, 3, 4, 4), {"target": a, "b": b}, optimizer=optimizer
    )
    for _ in range(400 if optimizer == "adam" else 20):
        out = descent.step()
    torch.testing.assert_close(descent.image(), (a + 3 * b) / 4, atol=2e-3, rtol=0)
    assert set(out.logs) == {"loss_mse"}


def test_bounds_hold_and_a_latent_is_free() -> None:
    target = torch.full((1, 3, 2, 2), 5.0)
    objective = Objective([{"type": "L1Loss"}])
    clipped = Descent(objective, torch.zeros(1, 3, 2, 2), {"target": target}, lr=0.5)
    free = Descent(
        objective,
        torch.zeros(1, 3, 1, 1),
        {"target": target},
        lr=0.5,
        network=lambda z: z.expand(1, 3, 2, 2),
    )
    for _ in range(12):
        clipped.step()
        free.step()
    assert clipped.image().max() == 1
    assert free.variable.shape == (1, 3, 1, 1)
    assert free.image().min() > 4


def test_descent_refuses() -> None:
    objective = Objective([{"type": "L1Loss"}])
    with pytest.raises(ConfigError, match="not 'adm'; did you mean 'adam'"):
        Descent(objective, torch.zeros(1), optimizer="adm")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="lr must be positive, not -1"):
        Descent(objective, torch.zeros(1), lr=-1)


def test_command_writes_everything(files, tmp_path, capsys) -> None:
    assert (
        run(files, tmp_path / "out", "--steps", "60", "--every", "20", "--lr", "0.05", "--json")
        == 0
    )
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["finished"]
    assert report["iteration"] == 60
    assert captured.err.count("\n") == 10  # no terminal: ten lines in all
    names = sorted(p.name for p in (tmp_path / "out" / "snapshots").iterdir())
    assert names == ["000000.png", "000020.png", "000040.png", "000060.png"]
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert [int(row["iteration"]) for row in rows] == list(range(60))
    assert rows[3]["loss_masked_tv"] == ""  # starts at 4
    for row in rows[4:]:
        parts = float(row["loss_mse"]) + float(row["loss_masked_tv"])
        assert float(row["total"]) == pytest.approx(parts, rel=1e-5)
    error = read_image(tmp_path / "out" / "result.png") - read_image(Path(files[1]))
    assert error.abs().mean() < 0.05
    with Image.open(tmp_path / "out" / "animation.gif") as animation:
        assert animation.n_frames == 4


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_resumed_run_is_the_same_to_the_bit(files, tmp_path, optimizer) -> None:
    options = ("--every", "3", "--animation", "none", "--optimizer", optimizer)
    assert run(files, tmp_path / "whole", "--steps", "11", *options) == 0
    assert run(files, tmp_path / "parts", "--steps", "5", *options) == 0
    assert run(files, tmp_path / "parts", "--steps", "11", *options, "--resume") == 0
    whole, parts = (
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert whole["iteration"] == parts["iteration"] == 11
    assert torch.equal(whole["variable"], parts["variable"])
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("steps", [11, 12])
def test_stopped_and_resumed_runs_files_are_the_whole_runs(
    files, tmp_path, monkeypatch, steps
) -> None:
    """Stopped twice between snapshots; the run ends between snapshots too, or at one."""
    options = ("--every", "3", "--steps", str(steps))
    assert run(files, tmp_path / "whole", *options) == 0
    step = Descent.step

    def stopping(self: Descent):
        out = step(self)
        if self.iteration in (5, 7):
            signal.raise_signal(signal.SIGINT)
        return out

    monkeypatch.setattr(Descent, "step", stopping)
    parts = tmp_path / "parts"
    assert run(files, parts, *options) == 130
    assert torch.load(parts / "state.pt", weights_only=True)["iteration"] == 5
    with Image.open(parts / "animation.gif") as animation:
        assert animation.n_frames == 3  # 0, 3, and where it was stopped
    assert run(files, parts, *options, "--resume") == 130
    assert run(files, parts, *options, "--resume") == 0
    with Image.open(parts / "animation.gif") as animation:
        assert animation.n_frames == 5
    for name in ("animation.gif", "result.png", "log.csv"):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    whole = sorted(path.name for path in (tmp_path / "whole" / "snapshots").iterdir())
    assert sorted(path.name for path in (parts / "snapshots").iterdir()) == whole


def test_what_came_after_the_state_is_forgotten(files, tmp_path) -> None:
    """Killed between a snapshot and the state: the log's later lines are written once."""
    out = tmp_path / "out"
    assert run(files, out, "--steps", "4", "--every", "4", "--animation", "none") == 0
    with (out / "log.csv").open("a") as file:
        file.write("4,9,9,9\n")
    (out / "snapshots" / "000099.png").write_bytes(b"")
    assert run(files, out, "--steps", "8", "--every", "4", "--animation", "none", "--resume") == 0
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [row["iteration"] for row in rows] == [str(i) for i in range(8)]
    assert rows[4]["total"] != "9"
    assert not (out / "snapshots" / "000099.png").exists()


def test_run_is_not_overwritten_nor_mixed(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--resume") == 1
    assert "there is no run to resume" in capsys.readouterr().err
    assert run(files, out, "--steps", "1") == 0
    assert run(files, out, "--steps", "2") == 1
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert run(files, out, "--steps", "3", "--resume") == 0
    capsys.readouterr()
    assert run(files, out, "--steps", "2", "--resume") == 1
    assert "has 3 steps already: --steps 2 would" in capsys.readouterr().err
    assert run(files, out, "--steps", "4", "--resume", "--lr", "0.5") == 1
    assert "lr was None and is now 0.5" in capsys.readouterr().err
    (out / "state.pt").write_bytes(b"damaged")
    assert run(files, out, "--resume") == 1
    assert "cannot resume" in capsys.readouterr().err


def test_damaged_run_is_one_line(files, tmp_path, refused) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--steps", "2", "--animation", "none") == 0
    for name, content, message in (
        ("log.csv", "", "log.csv is damaged (no header 'iteration,total'); move it away"),
        ("log.csv", "iteration,total\nx,1\n", "log.csv is damaged"),
        ("log.csv", "iteration,total\n0\n1,2\n", "line 2 has 1 of 2 columns"),
        ("run.json", "[]", "run.json holds no settings"),
    ):
        kept = (out / name).read_text()
        (out / name).write_text(content)
        refused(command(files, out, "--steps", "3", "--resume", "--animation", "none"), message)
        (out / name).write_text(kept)


def test_state_of_something_else_is_one_line(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--steps", "2", "--animation", "none") == 0
    torch.save({"variable": torch.zeros(3)}, out / "state.pt")
    assert run(files, out, "--steps", "3", "--resume", "--animation", "none") == 1
    assert "state.pt is not of this run" in capsys.readouterr().err


def test_line_cut_short_and_foreign_pictures_do_not_matter(files, tmp_path) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--steps", "4", "--every", "4") == 0
    with (out / "log.csv").open("a") as file:
        file.write("1")  # of "12,...", killed while writing
    (out / "snapshots" / "foo.png").write_bytes(b"")
    assert run(files, out, "--steps", "8", "--every", "4", "--resume") == 0
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [row["iteration"] for row in rows] == [str(i) for i in range(8)]
    assert (out / "snapshots" / "foo.png").exists()


def test_damaged_snapshots_are_left_out_of_the_animation(files, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--steps", "4", "--every", "1") == 0
    snapshots = out / "snapshots"
    whole = (snapshots / "000001.png").read_bytes()
    (snapshots / "000001.png").write_bytes(whole[: len(whole) // 2])  # cut short
    (snapshots / "000002.png").write_bytes(b"")
    Image.new("RGB", (3, 3)).save(snapshots / "000003.png")  # somebody else's
    capsys.readouterr()
    assert run(files, out, "--steps", "5", "--every", "1", "--resume", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["finished"]
    said = [line for line in captured.err.splitlines() if "left" in line]
    assert len(said) == 3
    assert said[0].endswith("000001.png out of the animation: it is damaged or of another size")
    with Image.open(out / "animation.gif") as animation:
        assert animation.n_frames == 3
    with pytest.raises(LosskitError, match="one frame that can be read"):
        write_animation([snapshots / "000002.png"], tmp_path / "a.gif")


def test_log_stays_whole_when_writing_fails(files, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    assert run(files, out, "--steps", "4", "--animation", "none") == 0
    before = (out / "log.csv").read_bytes()

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        _replace_log(out / "log.csv", [["iteration", "total"]])
    assert (out / "log.csv").read_bytes() == before


def test_ctrl_c_leaves_a_run_to_go_on_with(files, tmp_path) -> None:
    out = tmp_path / "out"
    code = "import sys; from losskit.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = ["optimize", files[0], "--target", files[1], "--out", str(out)]
    command = [sys.executable, "-c", code, *argv, "--steps", "1000000", "--every", "50"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "snapshots" / "000050.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "--resume goes on" in error
    state = torch.load(out / "state.pt", weights_only=True)
    rows = (out / "log.csv").read_text().splitlines()
    assert len(rows) - 1 == state["iteration"] >= 50
    steps = state["iteration"] + 2
    assert run(files, out, "--steps", str(steps), "--resume") == 0
    assert torch.load(out / "state.pt", weights_only=True)["iteration"] == steps


def test_latent_of_a_network(files, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "tiny_generator.py").write_text(
        "import torch\n"
        "def make():\n"
        "    torch.manual_seed(1)\n"
        "    net = torch.nn.Sequential(torch.nn.Linear(4, 3 * 8 * 8), torch.nn.Sigmoid(),\n"
        "                              torch.nn.Unflatten(1, (3, 8, 8)))\n"
        "    net.latent_shape = (1, 4)\n"
        "    return net\n"
        "def no_network():\n"
        "    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    latent = ("--latent-network", "tiny_generator:make", "--steps", "30")
    assert run(files, tmp_path / "out", *latent) == 1
    assert "add --allow-import" in capsys.readouterr().err
    (tmp_path / "o.yaml").write_text("terms: [{type: MSELoss}]")
    assert run(files, tmp_path / "out", *latent, "--allow-import", "--animation", "webp") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").read_text().splitlines()))
    assert float(rows[-1]["total"]) < 0.9 * float(rows[0]["total"])
    assert torch.load(tmp_path / "out" / "state.pt", weights_only=True)["variable"].shape == (1, 4)
    capsys.readouterr()
    for start in ("there-is-none.png", "target"):  # the latent starts from noise
        assert run(files, tmp_path / "third", *latent, "--allow-import", "--init", start) == 1
        error = capsys.readouterr().err
        assert f"--init {start} does not go with --latent-network" in error
        assert "leave --init out; the image to match is --target IMAGE" in error
        assert error.count("\n") == 1
    wrong = ("--latent-network", "tiny_generator:no_network", "--allow-import")
    assert run(files, tmp_path / "other", *wrong) == 1
    assert "must return a torch.nn.Module, not 3" in capsys.readouterr().err


def test_pictures_and_names(files, tmp_path) -> None:
    """Every picture is brought to the size of the one that moves; inputs go by their names."""
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "red.png")
    (tmp_path / "o.yaml").write_text(
        "terms:\n"
        "- {type: MSELoss, data_info: {pred: pred, target: red}}\n"
        "- {type: MSELoss, loss_name: loss_init, loss_weight: 0, data_info: {pred: pred, target: init}}\n"
    )
    argv = (
        "--init",
        "target",
        "--input",
        f"red={tmp_path / 'red.png'}",
        "--size",
        "8",
        "--steps",
        "90",
    )
    assert run(files, tmp_path / "out", *argv, "--animation", "none") == 0
    result = read_image(tmp_path / "out" / "result.png")
    assert result.shape == (1, 3, 8, 11)
    assert result[0, 0].min() > 0.9
    assert result[0, 1:].max() < 0.1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps", "0"], "--steps must be at least 1"),
        (["--init", "target"], "--init target needs --target"),
        ([], "--init noise needs --target IMAGE at its size, or --size PX"),
        (["--size", "8", "--own-size", "style"], "--own-size style: there is no such --input"),
        (["--size", "4"], r"needs outputs['target']"),
        (["--size", "4", "--input", "x"], "--input must be NAME=IMAGE"),
        (["--size", "4", "--input", "pred=x.png"], "a name of its own"),
        (["--size", "4", "--init", "no.png"], "there is no file no.png"),
        (["--latent-network", "m", "--allow-import"], "must be MODULE:FACTORY"),
        (["--size", "4", "--device", "cuda:99"], "--device cuda:99: "),
        (["--size", "4", "--device", "bogus"], "--device bogus: "),
    ],
)
def test_wrong_options_are_one_line(files, tmp_path, capsys, argv, message) -> None:
    assert main(["optimize", files[0], "--out", str(tmp_path / "out"), *argv]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("losskit: ")
    assert message in error


def test_what_cannot_descend_or_be_written_is_one_line(files, tmp_path, capsys) -> None:
    (tmp_path / "watched.yaml").write_text("terms: [{type: MSELoss, loss_name: mse}]")
    (tmp_path / "taken").write_text("")
    target = ["--target", files[1], "--steps", "1"]
    for argv, message in (
        ([files[0], *target, "--lr", "nan"], "lr must be positive, not nan"),
        ([str(tmp_path / "watched.yaml"), *target], "only monitored: there is nothing to descend"),
        ([files[0], *target, "--out", str(tmp_path / "taken")], "cannot write to"),
    ):
        assert main(["optimize", "--out", str(tmp_path / "out"), *argv]) == 1
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_library_run_and_animation(tmp_path) -> None:
    descent = Descent(
        Objective([{"type": "L1Loss"}]), torch.zeros(1, 3, 4, 4), {"target": torch.ones(1, 3, 4, 4)}
    )
    run_ = Run(tmp_path, descent, {"why": "a test"}, span=(-1.0, 1.0))
    assert read_image(tmp_path / "result.png")[0, 0, 0, 0] == pytest.approx(0.5, abs=0.01)
    assert run_.record(descent.step())["total"] == 1.0
    with pytest.raises(LosskitError, match="at least one frame"):
        write_animation([], tmp_path / "a.gif")
    with pytest.raises(LosskitError, match="cannot write"):
        write_animation(run_.snapshots(), tmp_path / "no" / "a.gif")


def test_what_a_latents_network_raises_is_one_line(files, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "broken_net.py").write_text(
        "import torch\n\ndef raising():\n    raise ImportError('no part')\n\n"
        "def narrow():\n    return torch.nn.Linear(3, 3)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, message in (("raising", "no part"), ("narrow", "on a latent of (1, 5): ")):
        argv = ["--latent-network", f"broken_net:{name}", "--allow-import", "--latent-shape", "1,5"]
        assert main(["optimize", files[0], "--out", str(tmp_path / "out"), *argv]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_pictures_of_their_own_size(tmp_path, monkeypatch) -> None:
    pytest.importorskip("losskit_perceptual")
    style = {
        "type": "StyleLoss",
        "backbone": "vgg16",
        "weights": "random",
        "layer_weights": {"3": 1.0},
    }
    (tmp_path / "o.yaml").write_text(json.dumps({"terms": [style]}))
    rng = np.random.default_rng(0)
    for name, shape in {"start": (24, 32), "style": (60, 40)}.items():
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    seen = []
    real = Descent.__init__

    def spied(self, objective, init, outputs, **options):
        seen.append((tuple(init.shape[2:]), tuple(outputs["target"].shape[2:])))
        real(self, objective, init, outputs, **options)

    monkeypatch.setattr(Descent, "__init__", spied)
    argv = ["optimize", str(tmp_path / "o.yaml"), "--target", str(tmp_path / "style.png")]
    argv += ["--steps", "1", "--animation", "none", "--own-size", "target"]
    start = ["--init", str(tmp_path / "start.png")]
    assert main([*argv, *start, "--out", str(tmp_path / "a")]) == 0
    assert main([*argv, *start, "--size", "16", "--out", str(tmp_path / "b")]) == 0
    assert main([*argv, "--size", "20", "--out", str(tmp_path / "c")]) == 0
    assert seen == [((24, 32), (60, 40)), ((16, 21), (24, 16)), ((20, 20), (30, 20))]
