"""Training end to end on a tiny net: exact resume, interruption, what is written."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from processes import run_python

from losskit.errors import ConfigError
from losskit_train.config.training import load_train_config
from losskit_train.output.recorder import read_metrics
from losskit_train.run import checkpoints
from losskit_train.run.fabric import make_fabric
from losskit_train.run.interrupt import Stopped
from losskit_train.run.loop import Trainer
from losskit_train.run.setup import set_up

NETS = """
from torch import nn

class G(nn.Module):
    latent_dim = 4

    def __init__(self, size=8):
        super().__init__()
        self.size = size
        self.mapping = nn.Linear(4, 4)
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3 * size * size)
        )

    def forward(self, noise, return_latents=False):
        latent = self.mapping(noise)
        image = self.net(latent).reshape(-1, 3, self.size, self.size).tanh()
        return (image, latent) if return_latents else image

class D(nn.Module):
    def __init__(self, size=8):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, image):
        return self.net(image)
"""


WITH_LATENTS = """
class W(nn.Module):  # whose latents carry the graph that path lengths need
    latent_dim = 4

    def __init__(self, size=8):
        super().__init__()
        self.mapping, self.image = nn.Linear(4, 4), nn.Linear(4, 3 * size * size)
        self.size = size

    def forward(self, noise, return_latents=False):
        latent = self.mapping(noise).tanh()
        image = self.image(latent).sin().reshape(-1, 3, self.size, self.size)
        return (image, latent) if return_latents else image
"""


COUNTING = """
import torch

class C(G):  # whose images depend on what no state_dict has
    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def forward(self, noise):
        if self.training:
            self.passes += 1
        return super().forward(noise) * (1 + 0.1 * self.passes.sin())
"""


UNUSUAL = """
import torch

class Old(G):
    def __init__(self):
        super().__init__()
        nn.utils.weight_norm(self.mapping)

class Scalar(G):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with networks of the user's own and a few images."""
    (tmp_path / "usernets.py").write_text(NETS)
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for index in range(7):
        pixels = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("usernets", None)


def config(**changes):
    base = {
        "out": "run",
        "steps": 11,
        "allow_import": True,
        "model": {"generator": {"type": "usernets:G"}, "discriminator": {"type": "usernets:D"}},
        "gan_loss": {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.5},
        "disc_auxiliary_loss": [
            {
                "type": "R1GradientPenalty",
                "interval": 3,
                "norm_mode": "HWC",
                "data_info": {"discriminator": "disc", "real_data": "real_imgs"},
            },
            {"type": "DiscShiftLoss", "data_info": {"pred": "disc_pred_real"}},
        ],
        "data": {"images": "images", "size": 8, "batch_size": 4},
        "optimizer": {"lr": 0.01, "schedule": "cosine", "warmup": 3},
        "logging": {
            "every": 3,
            "samples_every": 5,
            "samples": 4,
            "checkpoint_every": 4,
            "keep": 2,
            "tensorboard": False,
        },
        "fabric": {"accelerator": "cpu"},
    }
    return {**base, **changes}


def run(resume=False, **changes):
    return Trainer(load_train_config(config(**changes))).run(resume=resume)


def without_out(state):
    return {**state, "config": {k: v for k, v in state["config"].items() if k != "out"}}


# Imports once, then forks: each child dies by SIGKILL at a moment of its own and the next resumes.
DRIVER = """
import json, os, signal, sys
from losskit_train.run import checkpoints
from losskit_train.config.training import load_train_config
from losskit_train.run.fabric import make_fabric
from losskit_train.run.loop import Trainer
import torch
import lightning_fabric, rich.progress
torch.set_num_threads(1)
config, moments = json.loads(sys.stdin.read())

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def arm(kind, number):
    counted = [0]
    def counting(real):
        def call(*args, **kwargs):
            counted[0] += 1
            if counted[0] == number:
                die()
            return real(*args, **kwargs)
        return call
    if kind == "step":        # in the middle of a step: the discriminator is updated, the generator is not
        import losskit_gan.model.customized as m
        m.GANWithCustomizedLoss.generator_outputs = counting(m.GANWithCustomizedLoss.generator_outputs)
    elif kind == "fsync":     # a file is written, but not yet in place
        os.fsync = counting(os.fsync)
    elif kind == "seal":      # a seal is in place, its state is not
        import losskit_train.run.checkpoints as c
        real = c.write_atomically
        counted_states = counting(lambda: None)
        def write(path, content):
            if path.suffix == ".pt":
                counted_states()
            real(path, content)
        c.write_atomically = write
    elif kind == "prune":     # the new checkpoint is whole, old ones are still there
        checkpoints._prune = counting(checkpoints._prune)
    elif kind == "row":       # a row of metrics is written, nothing else of the step
        Trainer.write_samples = counting(Trainer.write_samples)

# Whatever is imported when it is first used, the children then need not import.
Trainer(load_train_config({**config, "out": "warm", "steps": 1})).run()
for kind, number in moments:
    child = os.fork()
    if child == 0:
        arm(kind, number)
        Trainer(load_train_config(config)).run(resume=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(kind, number, os.waitstatus_to_exitcode(status), flush=True)
"""


#: Losses with averages of their own, a batch in parts, and a process that loads ahead.
STATEFUL = {
    "disc_auxiliary_loss": [
        *config()["disc_auxiliary_loss"],
        {
            "type": "LeCamLoss",
            "data_info": {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"},
        },
    ],
    "gen_auxiliary_loss": {
        "type": "GeneratorPathRegularizer",
        "interval": 2,
        "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
    },
    "accumulate": 2,
    "data": {"images": "images", "size": 8, "batch_size": 4, "workers": 1},
}


def test_killed_at_any_moment_a_resumed_run_ends_bit_for_bit_the_same(folder, same):
    import json

    whole = checkpoints.load(run(**STATEFUL))
    kept = whole["ranks"][0]["objective"]
    for average in ("mean_path_length", "real_anchor", "fake_anchor"):
        assert any(name.endswith(average) and value != 0 for name, value in kept.items())
    moments = [
        ("step", 5),  # before the first checkpoint; a step passes here once for each of two parts
        ("fsync", 5),
        ("step", 12),
        ("seal", 1),
        ("prune", 1),
        ("row", 1),
        ("fsync", 7),
        ("step", 4),
        ("none", 0),
    ]
    plan = json.dumps([config(**STATEFUL, out="killed"), moments])
    done = run_python("-c", DRIVER, input=plan, cwd=folder)
    codes = [line.split()[-1] for line in done.stdout.splitlines()]
    assert codes == ["-9"] * (len(moments) - 1) + ["0"], done.stdout + done.stderr
    killed = checkpoints.load(checkpoints.find(Path("killed")))
    same(without_out(whole), without_out(killed))
    assert Path("run/metrics.csv").read_text() == Path("killed/metrics.csv").read_text()
    for sheet in Path("run/samples").iterdir():
        assert sheet.read_bytes() == (Path("killed/samples") / sheet.name).read_bytes()


def test_what_a_run_writes(folder):
    path = run(logging={**config()["logging"], "tensorboard": True, "interpolate": True})
    assert path == Path("run/checkpoints/step-00000011.pt")
    rows = read_metrics(Path("run/metrics.csv"))
    assert [row["step"] for row in rows] == [3, 6, 9, 11]
    assert {"loss_disc_fake", "loss_disc_real", "loss_gen", "loss_disc_shift"} <= set(rows[0])
    # R1 ran at iterations 0, 3, 6, 9: every row's window has one.
    assert all("loss_r1_gp" in row for row in rows)
    assert {p.name for p in Path("run/samples").iterdir()} == {
        f"step-{step:08d}.png" for step in (5, 10, 11)
    }
    assert len(list(Path("run/interpolations").iterdir())) == 3
    assert len(list(Path("run/checkpoints").glob("*.pt"))) == 2
    assert list(Path("run/tensorboard").iterdir())
    assert load_train_config("run/config.yaml").steps == 11


def test_the_written_config_trains_the_same(folder, same):
    first = checkpoints.load(run())
    again = Trainer(load_train_config("run/config.yaml", ["out=again", "allow_import=true"])).run()
    same(without_out(first), without_out(checkpoints.load(again)))


def test_a_bad_image_counts_once_however_often_it_comes_up(folder):
    content = Path("images/0.png").read_bytes()
    Path("images/0.png").write_bytes(content[: len(content) // 2])  # its header is fine
    (folder / "images" / "x.png").write_text("no image")
    run(steps=9, data={"images": "images", "size": 8, "batch_size": 4, "skip_bad": True})
    assert read_metrics(Path("run/metrics.csv"))[-1]["data_skipped"] == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_more_bad_images_than_good_ones_train_and_resume_exactly(folder, workers, same):
    for index in range(30):
        content = Path(f"images/{index % 7}.png").read_bytes()
        Path(f"images/bad{index}.png").write_bytes(content[: len(content) // 2])
    data = {"images": "images", "size": 8, "batch_size": 4, "skip_bad": True, "workers": workers}
    changes = {"data": data, "optimizer": {"lr": 0.01}}
    whole = run(steps=12, **changes)
    assert read_metrics(Path("run/metrics.csv"))[-1]["data_skipped"] == 30
    run(steps=5, out="again", **changes)
    resumed = run(resume=True, steps=12, out="again", **changes)
    same(without_out(checkpoints.load(whole)), without_out(checkpoints.load(resumed)))
    assert read_metrics(Path("again/metrics.csv"))[-1]["data_skipped"] == 30


def test_samples_and_rows_leave_the_training_alone(folder, same):
    quiet = {"every": 11, "samples_every": 0, "checkpoint_every": 0, "tensorboard": False}
    first, second = checkpoints.load(run()), checkpoints.load(run(out="quiet", logging=quiet))
    same(first["networks"], second["networks"])
    same(first["ranks"][0]["random"], second["ranks"][0]["random"])


def test_a_finished_or_foreign_run_is_not_overwritten(folder):
    run(steps=4)
    with pytest.raises(ConfigError, match=r"already holds a run .* give --resume"):
        run(steps=4)
    assert run(resume=True, steps=4) == Path("run/checkpoints/step-00000004.pt")
    other = {"generator": {"type": "usernets:G"}, "discriminator": None}
    with pytest.raises(checkpoints.CheckpointError, match="not of this config"):
        run(
            resume=True,
            steps=6,
            model={**other, "generator": {"type": "usernets:G", "size": 4}},
            gan_loss=None,
            disc_auxiliary_loss=None,
            gen_auxiliary_loss={"type": "L1Loss"},
            data={"images": "images", "size": 4, "batch_size": 4},
        )


def test_checkpoints_of_which_none_is_whole_are_not_passed_over(folder):
    run(steps=4)
    seal = Path("run/checkpoints/step-00000004.seal.json")
    content = seal.read_text()
    seal.unlink()
    for resume in (True, False):
        with pytest.raises(
            checkpoints.CheckpointError, match=r"not one of the 1 checkpoints .*4\.pt"
        ):
            run(resume=resume, steps=6)
    seal.write_text(content)
    assert run(resume=True, steps=4) == Path("run/checkpoints/step-00000004.pt")


def test_longer_training_goes_on_from_a_finished_run(folder, same):
    constant = {"lr": 0.01}
    whole = checkpoints.load(run(optimizer=constant))
    run(steps=6, out="short", optimizer=constant)
    longer = checkpoints.load(run(resume=True, steps=11, out="short", optimizer=constant))
    same(without_out(whole), without_out(longer))


def test_ctrl_c_saves_and_resumes_exactly(folder, monkeypatch, same):
    whole = checkpoints.load(run(out="whole"))
    real, handler = Trainer._one_step, signal.getsignal(signal.SIGINT)

    def interrupted(self, batch):
        real(self, batch)
        if self.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        with pytest.raises(Stopped) as stop:
            run()
    assert (stop.value.step, stop.value.checkpoint.name) == (6, "step-00000006.pt")
    assert signal.getsignal(signal.SIGINT) is handler
    same(without_out(whole), without_out(checkpoints.load(run(resume=True))))


def test_warm_start_takes_weights_only(folder, same):
    first = checkpoints.load(run(steps=4))
    model = {**config()["model"], "warm_start": "run"}
    trainer = Trainer(load_train_config(config(out="next", model=model)))
    same(trainer.model.generator.state_dict(), first["ema"])
    same(trainer.model.discriminator.state_dict(), first["networks"]["discriminator"])
    assert trainer.step == 0
    wrong = {**model, "discriminator": {"type": "usernets:D", "size": 4}}
    with pytest.raises(ConfigError, match="has other layers"):
        Trainer(load_train_config(config(out="next", model=wrong)))


def test_a_warm_started_run_goes_on_without_what_it_began_from(folder, same):
    run(steps=2)
    model = {**config()["model"], "warm_start": "run"}
    whole = checkpoints.load(run(out="whole", model=model, steps=6))
    run(out="next", model=model, steps=4)
    shutil.rmtree("run")
    for warm_start in ("run", None):  # the key may go with it
        if warm_start is None:
            shutil.rmtree("next")
            shutil.copytree("copy", "next")
        else:
            shutil.copytree("next", "copy")
        model["warm_start"] = warm_start
        state = checkpoints.load(run(out="next", model=model, steps=6, resume=True))
        same(whole["networks"], state["networks"])
    with pytest.raises(checkpoints.CheckpointError, match="no whole checkpoint in run"):
        run(out="new", model={**model, "warm_start": "run"})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_may_change_when_a_run_goes_on(folder, precision):
    half = {"accelerator": "cpu", "precision": "16-mixed"}
    other = {"accelerator": "cpu", "precision": precision}
    run(steps=2, fabric=other)
    state = checkpoints.load(run(steps=4, fabric=half, resume=True))
    assert state["precision"]["scale"] > 0
    state = checkpoints.load(run(steps=5, fabric=other, resume=True))
    assert (state["step"], state["precision"]) == (5, {})


def test_what_networks_keep_out_of_their_state_resumes_exactly(folder, same):
    (folder / "usernets.py").write_text(NETS + COUNTING)
    model = {**config()["model"], "generator": {"type": "usernets:C"}}
    changes = {"model": model, "optimizer": {"lr": 0.01}}
    whole = checkpoints.load(run(out="whole", **changes))
    kept = whole["ranks"][0]["buffers"]
    assert list(kept["generator"]) == ["passes"]
    assert kept["generator"]["passes"] > 11
    run(**changes, steps=5)
    same(without_out(whole), without_out(checkpoints.load(run(**changes, resume=True))))


def test_a_run_does_not_go_on_with_other_images(folder):
    run(steps=2)
    Path("images/0.png").rename("images/a.png")
    with pytest.raises(checkpoints.CheckpointError, match="other names of its 7 images"):
        run(steps=4, resume=True)
    Path("images/a.png").unlink()
    with pytest.raises(checkpoints.CheckpointError, match="6 images, not 7"):
        run(steps=4, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"allow_import": False}, "'usernets:G' is code that the config names"),
        ({"model": {"generator": {"type": "usernets:H"}}}, "cannot import 'usernets:H'"),
        ({"model": {"generator": {"type": "nonets:G"}}}, "cannot import 'nonets:G'"),
        ({"model": {"generator": {"type": "Nope"}}}, "there is no 'Nope'"),
        ({"model": {"generator": {"size": 8}}}, "model.generator needs 'type'"),
        (
            {"model": {"generator": {"type": "usernets:G", "sise": 8}}},
            "generator.sise: .* has no argument 'sise'; did you mean 'size'",
        ),
        ({"model": {"generator": {"type": "builtins:dict"}}, "allow_import": True}, "made a dict"),
        ({"gan_loss": {"type": "GANLos"}}, "gan_loss: no loss is called.*did you mean 'GANLoss'"),
        ({"gan_loss": {"type": "GANLoss", "gan_type": "hing"}}, "did you mean 'hinge'"),
        ({"data": {"images": "nothing"}}, "there is no folder 'nothing'"),
        (
            {"gen_auxiliary_loss": {"type": "L1Loss", "start": 9, "data_info": {"pred": "maps"}}},
            "a trial step failed at the generator, loss_l1 .*needs outputs..maps",
        ),
        ({"optimizer": {"lr": 1, "betas": [2, 3]}}, "optimizer.discriminator: Invalid beta"),
        ({"preset": "nope"}, "there is no preset 'nope'"),
        ({"out": "usernets.py"}, "out: usernets.py is a file, not a folder"),
        ({"out": "usernets.py/a/b"}, "out: usernets.py is a file, not a folder"),
        (
            {"model": {**config()["model"], "generator": {"type": "usernets:Old"}}},
            "cannot be copied, .* of torch.nn.utils.parametrizations",
        ),
        (
            {
                "model": {**config()["model"], "generator": {"type": "usernets:Scalar"}},
                "fabric": {"strategy": "fsdp", "devices": 2, "accelerator": "cpu"},
            },
            "'fsdp' cannot spread generator.gain, which has no dimension",
        ),
        (
            {
                "fabric": {"strategy": "fsdp", "devices": 2, "accelerator": "cpu"},
                "optimizer": {"generator": {"type": "Adafactor"}},
            },
            "'Adafactor' factors whole weights, which fabric.strategy 'fsdp' spreads",
        ),
        (
            {
                "gen_auxiliary_loss": {
                    "type": "GeneratorPathRegularizer",
                    "start": 3,
                    "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
                },
                "fabric": {
                    "strategy": "ddp_find_unused_parameters_true",
                    "devices": 2,
                    "accelerator": "cpu",
                },
            },
            "do not depend on the 'latents' that a loss reads: take ddp",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_what_is_wrong_is_found_before_anything_runs(folder, changes, message):
    (folder / "usernets.py").write_text(NETS + UNUSUAL)
    with pytest.raises(ConfigError, match=message) as caught:
        Trainer(load_train_config(config(**changes)))
    assert "\n" not in str(caught.value)
    assert not Path("run").exists()


def test_accumulated_parts_clipping_and_several_generator_steps(folder):
    changes = {
        "accumulate": 2,
        "generator_steps": 2,
        "optimizer": {"lr": 0.01, "clip_norm": 0.1, "discriminator": {"type": "SGD"}},
    }
    before = Trainer(load_train_config(config(**changes))).model.discriminator.state_dict()
    after = checkpoints.load(run(**changes, steps=1))["networks"]["discriminator"]
    moved = torch.cat([(after[name] - value).flatten() for name, value in before.items()])
    # Both parts' sum is clipped, once: the step is the learning rate times the largest norm.
    assert moved.norm().item() == pytest.approx(0.01 * 0.1, rel=1e-3)
    state = checkpoints.load(run(**changes, steps=3, resume=True))
    assert state["iteration"] == 3
    updates = state["optimizers"]["generator"]["state"].values()
    assert {int(entry["step"]) for entry in updates} == {2 * 3}


MIXED = {
    "gen_auxiliary_loss": {
        "type": "GeneratorPathRegularizer",
        "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
    },
    "model": {"generator": {"type": "usernets:W"}, "discriminator": {"type": "usernets:D"}},
}


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_resumes_exactly(folder, monkeypatch, precision, same):
    scaler = torch.amp.GradScaler.__init__
    often = {"init_scale": 2.0**10, "growth_interval": 4}  # so that it moves in a few steps
    monkeypatch.setattr(
        torch.amp.GradScaler, "__init__", lambda self, device: scaler(self, device, **often)
    )
    (folder / "usernets.py").write_text(NETS + WITH_LATENTS)
    changes = {**MIXED, "fabric": {"accelerator": "cpu", "precision": precision}}
    changes["optimizer"] = {"lr": 0.01, "clip_norm": 1.0}
    whole = checkpoints.load(run(**changes, out="whole"))
    run(**changes, steps=5)
    same(without_out(whole), without_out(checkpoints.load(run(**changes, resume=True))))
    for weights in whole["networks"].values():
        assert all(value.dtype == torch.float32 for value in weights.values())
        assert all(torch.isfinite(value).all() for value in weights.values())
    if precision == "16-mixed":
        # Both players' updates count: 22, of which every fourth doubles it.
        assert whole["precision"]["scale"] == 2.0 ** (10 + 22 // 4)
        assert whole["precision"]["_growth_tracker"] == 22 % 4


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16-mixed", 0.05), ("16-mixed", 0.01)])
def test_gradients_in_mixed_precision_are_those_of_full_precision(
    folder, monkeypatch, precision, tolerance
):
    (folder / "usernets.py").write_text(NETS + WITH_LATENTS)

    scaler = torch.amp.GradScaler.__init__
    start = lambda self, device: scaler(self, device, init_scale=2.0**12)  # noqa: E731
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", start)

    def gradients(precision):
        fabric = {"accelerator": "cpu", "precision": precision}
        trainer = Trainer(load_train_config(config(**MIXED, fabric=fabric, optimizer={"lr": 0.0})))
        trainer.fabric = make_fabric(trainer.config)
        trainer.fabric.launch()
        trainer.engine = set_up(trainer, trainer.fabric)
        draw = torch.Generator().manual_seed(3)
        batch = {
            "real_imgs": torch.rand(4, 3, 8, 8, generator=draw) * 2 - 1,
            "noise": torch.randn(4, 4, generator=draw),
        }
        torch.manual_seed(5)
        trainer.model.train_step(batch, trainer.optimizers, engine=trainer.engine)
        assert trainer.engine.skipped_updates == 0
        return [p.grad for p in trainer.model.parameters()]

    for mixed, full in zip(gradients(precision), gradients("32-true"), strict=True):
        assert mixed.dtype == torch.float32
        assert (mixed - full).norm() < tolerance * full.norm()


def test_an_update_with_infinite_gradients_is_left_out_and_counted(folder, monkeypatch):
    """The scaler starts too high for fp16: it comes down, and nothing else of the step is lost."""
    real = torch.amp.GradScaler.__init__
    monkeypatch.setattr(
        torch.amp.GradScaler,
        "__init__",
        lambda self, device: real(self, device, init_scale=2.0**20, growth_interval=10**6),
    )
    path = run(fabric={"accelerator": "cpu", "precision": "16-mixed"}, out="whole", steps=8)
    state = checkpoints.load(path)
    skipped = state["skipped_updates"]
    assert 1 <= skipped < 16
    assert state["precision"]["scale"] == 2.0 ** (20 - skipped)
    assert read_metrics(Path("whole/metrics.csv"))[-1]["skipped_updates"] == skipped
    updates = [
        entry["step"]
        for optimizer in state["optimizers"].values()
        for entry in optimizer["state"].values()
    ]
    assert (
        sum(
            {
                id(o): next(iter(o["state"].values()))["step"] for o in state["optimizers"].values()
            }.values()
        )
        == 16 - skipped
    )
    assert all(0 < count <= 8 for count in updates)
    assert state["iteration"] == 8


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at inputs'
def test_compiled_networks_are_what_all_but_penalties_call(folder, monkeypatch, same):
    """Both players' passes of both turns; and the numbers are the eager ones."""
    from torch._dynamo.backends.registry import lookup_backend

    passes = {"G": 0, "D": 0}

    def counting(graph, inputs):
        # Generators end in a hyperbolic tangent, discriminators of this file in a linear layer.
        name = "D" if any("flatten" in str(node.target) for node in graph.graph.nodes) else "G"
        compiled = lookup_backend("aot_eager")(graph, inputs)

        def call(*arguments):
            passes[name] += 1
            return compiled(*arguments)

        return call

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: real(self, backend=counting))
    path = {"fake_imgs": "fake_imgs", "latents": "latents"}
    changes = {
        "steps": 4,
        "gen_auxiliary_loss": {
            "type": "GeneratorPathRegularizer",
            "data_info": path,
            "interval": 2,
        },
        "logging": {**config()["logging"], "samples_every": 0},
        "model": {**config()["model"], "generator": {"type": "usernets:W"}},
    }
    (folder / "usernets.py").write_text(NETS + WITH_LATENTS)
    eager = checkpoints.load(run(out="eager", **changes))
    model = {**changes["model"], "compile": True}
    compiled = checkpoints.load(run(out="compiled", **{**changes, "model": model}))
    # A step: the discriminator judges twice, and once for the generator, which draws for both; but
    # every other one the generator's own passes are differentiated twice.
    assert passes == {"G": 4 + 2, "D": 2 * 4 + 2}
    for key in ("networks", "ema"):
        torch.testing.assert_close(eager[key], compiled[key])
    same(eager["ranks"][0]["random"], compiled["ranks"][0]["random"])


def test_a_compiler_that_fails_is_one_line(folder, monkeypatch):
    def broken(graph, _):
        raise RuntimeError("no compiler\nhere")

    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: real(self, backend=broken))
    model = {**config()["model"], "compile": True}
    with pytest.raises(ConfigError, match=r"model.compile: .* take model.compile: false") as caught:
        run(model=model)
    assert "\n" not in str(caught.value)


TWO = textwrap.dedent(
    """
    import sys
    from losskit.cli import main
    sys.exit(main())
    """
)


@pytest.mark.slow
def test_the_command_starts_processes_with_random_numbers_of_their_own(folder):
    import yaml

    nets = NETS.replace("nn.BatchNorm1d(8), ", "")
    (folder / "usernets.py").write_text(nets)
    (folder / "two.py").write_text(TWO)
    (folder / "c.yaml").write_text(yaml.safe_dump({**config(), "allow_import": False}))
    command = ["two.py", "train", "c.yaml", "--quiet", "accumulate=2", "--allow-import"]
    command += ["--devices", "2", "--strategy", "ddp", "steps=5"]
    done = run_python(*command, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    state = checkpoints.load(checkpoints.find(folder / "run"))
    assert len(state["ranks"]) == 2
    first, second = (rank["random"]["torch"] for rank in state["ranks"])
    assert not torch.equal(first, second)
    with pytest.raises(checkpoints.CheckpointError, match="written by 2 processes"):
        run(resume=True)


def test_a_path_needs_leave_also_into_our_own_modules(folder):
    generator = {"type": "losskit.weights.files:os.mkdir", "path": "made"}
    with pytest.raises(ConfigError, match="is code that the config names"):
        Trainer(load_train_config(config(allow_import=False, model={"generator": generator})))
    assert not (folder / "made").exists()


def test_a_file_cannot_give_itself_leave_to_import(folder):
    (folder / "train.yaml").write_text("allow_import: true\nsteps: 1\n")
    with pytest.raises(ConfigError, match="cannot give itself leave to import"):
        load_train_config("train.yaml")


def test_a_schedule_of_torchs_goes_on_where_it_was(folder, same):
    plan = {"type": "MultiStepLR", "milestones": [2, 6, 9], "gamma": 0.5}
    optimizer = {"lr": 0.01, "schedule": plan, "warmup": 3}
    whole_run = checkpoints.load(run(out="one", optimizer=optimizer))
    run(steps=8, optimizer=optimizer)
    in_two = checkpoints.load(run(resume=True, optimizer=optimizer))
    same(without_out(in_two), without_out(whole_run))
    rate = in_two["optimizers"]["generator"]["param_groups"][0]["lr"]
    assert rate == pytest.approx(0.01 * 0.5**3)


TO_ALL = """
import json, os, pathlib, signal, sys, time
from losskit_train.config.training import load_train_config
from losskit_train.run.loop import Trainer

def processes_of(pid):
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]

class Sent(Trainer):
    def _afterwards(self, bar):
        if self.step == 3:
            workers = processes_of(os.getpid())
            print(len(workers), flush=True)
            for pid in workers:  # sent from outside, as a batch system's, which knows no order
                os.system(f"kill -TERM {pid}")
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGTERM)
        return super()._afterwards(bar)

try:
    Sent(load_train_config(json.loads(sys.argv[1]))).run()
except BaseException as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks its processes up in /proc")
def test_a_sigterm_to_each_process_saves_the_step(folder):
    import json

    (folder / "to_all.py").write_text(TO_ALL)
    data = {**config()["data"], "workers": 2}
    plan = json.dumps(config(data=data, steps=200))
    done = run_python("to_all.py", plan, cwd=folder)
    assert done.stdout.split("\n")[:2] == ["2", "Stopped stopped at step 3"], done.stderr[-2000:]
    assert checkpoints.load(checkpoints.find(folder / "run"))["step"] == 3
