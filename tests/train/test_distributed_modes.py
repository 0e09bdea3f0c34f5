"""Two processes in mixed precision, and compiled, are the one process with the joint batch."""

from __future__ import annotations

import pytest
import torch

from losskit_train.run import checkpoints

STEPS = 3


def _job(name, *, world=2, strategy="auto", precision="32-true", compiled=False):
    terms = {"discriminator": "disc", "real_data": "real_imgs"}
    config = {
        "out": name,
        "steps": STEPS,
        "allow_import": True,
        "model": {
            "generator": {"type": "two_ranks:Upsampler"},
            "discriminator": {"type": "two_ranks:Judge"},
            "inputs": ["lq"],
            "ema": 0.5,
            "compile": compiled,
        },
        "gan_loss": {"type": "GANLoss", "gan_type": "wgan-logistic-ns", "loss_weight": 0.5},
        "disc_auxiliary_loss": [
            {"type": "R1GradientPenalty", "norm_mode": "HWC", "interval": 2, "data_info": terms},
            {"type": "LeCamLoss", "data_info": _LOGITS},
        ],
        "gen_auxiliary_loss": {"type": "L1Loss"},
        "data": {
            "images": "images",
            "task": "super-resolution",
            "size": 8,
            "batch_size": 8 // world,
        },
        # Plain gradients: Adam would make as much of a rounding as of a gradient.
        "optimizer": {"type": "SGD", "lr": 0.5, "clip_norm": 1.0},
        "logging": {"every": 1, "samples_every": 0, "checkpoint_every": 0, "tensorboard": False},
        "fabric": {
            "accelerator": "cpu",
            "devices": world,
            "strategy": strategy,
            "precision": precision,
        },
    }
    return {"name": name, "world": world, "config": config}


_LOGITS = {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
JOINT = [_job(f"one-{precision}", world=1, precision=precision) for precision in PRECISIONS]
MIXED = [("ddp", "32-true"), ("ddp", "bf16-mixed"), ("ddp", "16-mixed")]
MIXED += [("fsdp", "32-true"), ("fsdp", "bf16-mixed")]
TWO = [_job(f"{s}-{p}", strategy=s, precision=p) for s, p in MIXED]
COMPILED = [_job(f"{s}-compiled", strategy=s, compiled=True) for s in ("ddp", "fsdp")]
#: One player begins to learn in the second step: until then there is nothing to meet over or scale.
LATE = _job("ddp-late", strategy="ddp", precision="16-mixed")
LATE["config"]["gan_loss"]["start"] = 1
LATE["config"]["disc_auxiliary_loss"] = {**LATE["config"]["disc_auxiliary_loss"][1], "start": 1}
START = {**_job("start", world=1), "name": "start"}
START["config"]["optimizer"] = {"type": "SGD", "lr": 0.0}


@pytest.fixture(scope="module")
def ran(ranks):
    return ranks([START, *JOINT, *TWO, LATE, *COMPILED])


def _moved(folder, name, key):
    """How far a run of that name took each weight, in one vector."""
    state = checkpoints.load(checkpoints.find(folder / name))
    begun = checkpoints.load(checkpoints.find(folder / "start"))
    assert state["step"] == STEPS
    now, before = (
        [v for net in s["networks"].values() for v in net.values()] if key == "networks"
        else list(s["ema"].values())
        for s in (state, begun)
    )  # fmt: skip
    assert all(value.dtype == torch.float32 for value in now)
    return torch.cat([(a - b).flatten() for a, b in zip(now, before, strict=True)])


@pytest.mark.parametrize("job", [*TWO, LATE, *COMPILED], ids=lambda job: job["name"])
def test_both_ranks_end_with_the_same_networks(ran, job, same):
    folder, codes, said = ran
    assert codes[job["name"]] == [0, 0], said[-3000:]
    first, second = (torch.load(folder / f"{job['name']}-{rank}.pt") for rank in range(2))
    assert set(first) == {"discriminator", "generator", "ema"}
    same(first, second)


@pytest.mark.parametrize("key", ["networks", "ema"])
@pytest.mark.parametrize(("strategy", "precision"), MIXED)
def test_mixed_precision_of_two_is_the_joint_batch_s(ran, strategy, precision, key):
    folder, codes, said = ran
    assert codes[f"{strategy}-{precision}"] == [0, 0], said[-3000:]
    # A weight's gradient is rounded in each process: to 8 bits in bf16, to 11 in fp16.
    tolerance = {"32-true": 1e-5, "bf16-mixed": 0.02, "16-mixed": 0.005}[precision]
    joint, two = (_moved(folder, n, key) for n in (f"one-{precision}", f"{strategy}-{precision}"))
    assert joint.norm() > 0.1
    assert (two - joint).norm() < tolerance * joint.norm()
    # What ran was mixed: its rounding shows.
    exact = _moved(folder, "one-32-true", key)
    rounding = ((two - exact).norm() / exact.norm()).item()
    assert (rounding > 1e-5) == (precision != "32-true"), rounding


def test_the_scaler_of_two_ranks_has_one_state(ran):
    folder, codes, said = ran
    assert codes["ddp-16-mixed"] == [0, 0], said[-3000:]
    one, two = (
        checkpoints.load(checkpoints.find(folder / name))
        for name in ("one-16-mixed", "ddp-16-mixed")
    )
    assert one["precision"] == two["precision"]
    assert two["precision"]["_growth_tracker"] == 2 * STEPS
    assert two["skipped_updates"] == 0


def test_a_player_that_begins_late_makes_no_update_before(ran):
    folder, codes, said = ran
    assert codes["ddp-late"] == [0, 0], said[-3000:]
    state = checkpoints.load(checkpoints.find(folder / "ddp-late"))
    # Every update counts here: the scale grows after so many that were finite.
    assert state["precision"]["_growth_tracker"] == STEPS + STEPS - 1


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_compiled_networks_of_two_ranks_learn_what_eager_ones_do(ran, strategy):
    folder, codes, said = ran
    assert codes[f"{strategy}-compiled"] == [0, 0], said[-3000:]
    for key in ("networks", "ema"):
        torch.testing.assert_close(
            _moved(folder, f"{strategy}-compiled", key),
            _moved(folder, f"{strategy}-32-true", key),
            atol=1e-6,
            rtol=1e-5,
        )
