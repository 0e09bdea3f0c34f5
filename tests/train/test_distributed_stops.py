"""Two processes that are asked to stop, or shot, go on where they were, bit for bit."""

from __future__ import annotations

import pytest

from losskit_train.run import checkpoints

STEPS = 6


def _job(name, out=None, event=None, strategy="ddp"):
    # Without processes that load: of a killed process's, the other rank hears only after seconds.
    workers = int("kill" not in name)
    config = {
        "out": out or name,
        "steps": STEPS,
        "allow_import": True,
        "model": {
            "generator": {"type": "two_ranks:FromNoise"},
            "discriminator": {"type": "two_ranks:Judge", "norm": True},
            "ema": 0.9,
        },
        "gan_loss": {"type": "GANLoss", "gan_type": "hinge"},
        "disc_auxiliary_loss": [
            {
                "type": "R1GradientPenalty",
                "norm_mode": "HWC",
                "interval": 2,
                "data_info": {"discriminator": "disc", "real_data": "real_imgs"},
            },
            {
                "type": "LeCamLoss",
                "sync": False,  # each rank's own
                "data_info": {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"},
            },
        ],
        "gen_auxiliary_loss": {
            "type": "GeneratorPathRegularizer",
            "interval": 2,
            "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
        },
        "data": {"images": "images", "size": 8, "batch_size": 2, "workers": workers},
        "optimizer": {"lr": 0.01},
        "logging": {
            "every": 2,
            "samples_every": 3,
            "samples": 4,
            "checkpoint_every": 3,
            "tensorboard": False,
        },
        "fabric": {"accelerator": "cpu", "devices": 2, "strategy": strategy},
    }
    return {"name": name, "config": config, "event": event}


def _event(signal, at, number, *ranks, group=False):
    return {"signal": signal, "at": at, "number": number, "ranks": ranks, "group": group}


# The first log row, where ranks agree, after a signal at step 3 is at step 4.
STOPS = {
    "one rank, Ctrl-C": _event("SIGINT", "step", 3, 1),
    "the first rank, SIGTERM": _event("SIGTERM", "step", 3, 0),
    "all ranks, Ctrl-C": _event("SIGINT", "step", 3, 0, 1),
    # As a terminal and a batch system do: with the processes that load data.
    "all groups, Ctrl-C": _event("SIGINT", "step", 3, 0, 1, group=True),
    "all groups, SIGTERM": _event("SIGTERM", "step", 3, 0, 1, group=True),
    "while a state is put together": _event("SIGTERM", "gather", 1, 1),
}
# One run, shot again and again; each goes on from what the last left.
KILLS = [
    _event("SIGKILL", "update", 2, 1),  # before there is a checkpoint
    _event("SIGKILL", "gather", 1, 1),  # the first rank waits for its part
    _event("SIGKILL", "half", 1, 0),  # the first checkpoint is half written
    _event("SIGKILL", "seal", 1, 0),  # its seal is there, it is not
    _event("SIGKILL", "prune", 1, 0),  # it is whole
    _event("SIGKILL", "step", 2, 0, 1),  # both at once, after it
    _event("SIGKILL", "half", 1, 0),  # the last checkpoint
    _event("SIGKILL", "samples", 1, 0),
]


STRATEGIES = ("ddp", "fsdp")
#: Under FSDP what gathers a state that is spread; the rest is the same code.
PLANS = {
    "ddp": (STOPS, KILLS),
    "fsdp": ({"one rank, Ctrl-C": STOPS["one rank, Ctrl-C"]}, KILLS[1:3]),
}


def _jobs(strategy):
    stops, kills = PLANS[strategy]

    def job(name, out=None, event=None):
        return _job(f"{strategy} {name}", f"{strategy} {out or name}", event, strategy)

    jobs = [job("whole")]
    for name, event in stops.items():
        jobs += [job(name, event=event), job(f"{name}: on", name)]
    jobs += [job(f"kill {index}", "killed", event) for index, event in enumerate(kills)]
    return [*jobs, job("killed: on", "killed")]


@pytest.fixture(scope="module")
def ran(ranks):
    return ranks([job for strategy in STRATEGIES for job in _jobs(strategy)])


def _state(folder):
    state = checkpoints.load(checkpoints.find(folder))
    state["config"].pop("out")
    state["config"]["data"].pop("workers")
    return state


def _ends_the_same(folder, strategy, name, same):
    whole = _state(folder / f"{strategy} whole")
    assert whole["step"] == STEPS
    same(whole, _state(folder / f"{strategy} {name}"))
    for file in ("metrics.csv", f"samples/step-{STEPS:08d}.png"):
        contents = {(folder / f"{strategy} {n}" / file).read_bytes() for n in ("whole", name)}
        assert len(contents) == 1, file


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_asked_to_stop_all_ranks_end_at_one_step_and_go_on_bit_for_bit(ran, strategy, same):
    folder, codes, said = ran
    assert codes[f"{strategy} whole"] == [0, 0], said[-3000:]
    for name in PLANS[strategy][0]:
        full = f"{strategy} {name}"
        assert codes[full] == [130, 130], (name, said[-3000:])
        ends = {(folder / f"{full}-{rank}.txt").read_text() for rank in range(2)}
        assert ends == {f"4 {full}/checkpoints/step-00000004.pt"}
        assert codes[f"{full}: on"] == [0, 0], (name, said[-3000:])
        _ends_the_same(folder, strategy, name, same)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_at_several_moments_a_resumed_run_ends_bit_for_bit_the_same(ran, strategy, same):
    folder, codes, said = ran
    for index, event in enumerate(PLANS[strategy][1]):
        ended = codes[f"{strategy} kill {index}"]
        for rank, code in enumerate(ended):
            # The other one cannot go on alone, and ends by itself.
            assert code == -9 if rank in event["ranks"] else code not in (0, "hangs"), (
                event,
                ended,
            )
    assert codes[f"{strategy} killed: on"] == [0, 0], said[-3000:]
    assert not list((folder / f"{strategy} killed").rglob("*.tmp"))
    _ends_the_same(folder, strategy, "killed", same)
