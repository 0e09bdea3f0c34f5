"""Two processes, under DDP and sharded, give what one process with the joint batch gives.

The processes are forked from one that has imported everything: this very file run as a script.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from losskit.errors import LosskitError
from losskit_gan.adversarial.formulas import hinge_discriminator_loss, hinge_generator_loss
from losskit_gan.penalties.lecam import LeCamLoss
from losskit_gan.penalties.path_length import GeneratorPathRegularizer
from losskit_gan.penalties.r1 import R1GradientPenalty
from losskit_train.config.training import load_train_config
from losskit_train.results.inference import generator_of
from losskit_train.run import checkpoints, resume
from losskit_train.run.fabric import make_fabric
from losskit_train.run.loop import Trainer
from losskit_train.run.setup import set_up

BATCH = 4
STRATEGIES = ("ddp", "fsdp")


class _Generator(nn.Module):
    """Smooth and float64, so that the two ways differ by rounding alone."""

    def __init__(self):
        super().__init__()
        self.mapping, self.image = nn.Linear(3, 5), nn.Linear(5, 2 * 4 * 4)

    def forward(self, noise, num_batches=0, return_latents=False):
        latent = self.mapping(noise).tanh()
        images = self.image(latent).sin().view(-1, 2, 4, 4)
        return {"fake_img": images, "latent": latent} if return_latents else images


def _networks():
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Conv2d(4, 1, 2))
    return _Generator().double(), discriminator.double()


def _gradients(rank, world, wrap):
    """Both players' gradients for this rank's part of one batch, and the state of the averages."""
    generator, discriminator = (wrap(net) for net in _networks())
    draw = torch.Generator().manual_seed(1)
    real, y = (torch.randn(BATCH, 2, 4, 4, generator=draw, dtype=torch.float64) for _ in range(2))
    noise = torch.randn(BATCH, 3, generator=draw, dtype=torch.float64)
    part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    real, noise, y = real[part], noise[part], y[part]

    lecam = LeCamLoss().double()
    logits = discriminator(real), discriminator(generator(noise).detach())
    penalty = R1GradientPenalty(norm_mode="HWC")(discriminator, real)
    total = hinge_discriminator_loss(*logits) + 5 * penalty + lecam(*logits)
    total.backward()

    path = GeneratorPathRegularizer(decay=0.3, sync_mean_buffer=True).double()
    path.mean_path_length.fill_(0.2)
    made = generator(noise, return_latents=True)
    # Once from known latents, once by a generator that is called for them.
    given = path(fake_imgs=made["fake_img"], latents=made["latent"], noise=y)
    frozen = copy.deepcopy(getattr(discriminator, "module", discriminator)).requires_grad_(False)
    total = hinge_generator_loss(frozen(made["fake_img"]))
    own = path(_Called(generator, noise), len(noise), noise=y)
    (total + 2 * given + 3 * own).backward()
    gradients = [p.grad for net in (generator, discriminator) for p in net.parameters()]
    state = [path.mean_path_length, lecam.real_anchor, lecam.fake_anchor]
    return torch.cat([t.flatten() for t in (*gradients, *state)])


class _Called:
    """The MMagic protocol with fixed noise, round the data-parallel wrapper as the loss goes."""

    def __init__(self, generator, noise):
        self.generator, self.noise = getattr(generator, "module", generator), noise

    def __call__(self, _, num_batches, return_latents):
        assert num_batches == len(self.noise)
        return self.generator(self.noise, return_latents=return_latents)


def _config(**changes):
    terms = {"discriminator": "disc", "real_data": "real_imgs"}
    path = {"fake_imgs": "fake_imgs", "latents": "latents"}
    logits = {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"}
    base = {
        "steps": 6,
        "model": {
            "generator": {"type": "two_ranks:FromNoise", "size": 4, "norm": True},
            "discriminator": {"type": "two_ranks:Judge", "norm": True},
            "ema": 0.9,
        },
        "gan_loss": {"type": "GANLoss", "gan_type": "hinge"},
        "disc_auxiliary_loss": [
            {"type": "R1GradientPenalty", "norm_mode": "HWC", "interval": 2, "data_info": terms},
            {"type": "LeCamLoss", "sync": False, "data_info": logits},
            {"type": "FiniteDifferenceR1", "data_info": terms},
        ],
        "gen_auxiliary_loss": [
            {"type": "GeneratorPathRegularizer", "loss_weight": 2.0, "data_info": path},
            {
                "type": "GeneratorPathRegularizer",
                "interval": 2,
                "data_info": {"generator": "gen", "num_batches": "batch_size"},
            },
        ],
        "data": {"images": "images", "size": 4, "batch_size": 4, "workers": 1},
        "accumulate": 2,
        "optimizer": {"lr": 0.01, "clip_norm": 1.0},
        "logging": {"every": 4, "samples_every": 3, "checkpoint_every": 2, "tensorboard": False},
        "fabric": {"accelerator": "cpu", "devices": 2},
        "allow_import": True,
    }
    return {**base, **changes}


def _one_update(rank, world, strategy, out):
    """The state and the gradients after an update through the trainer, of this rank's part."""
    config = _config(out=str(out), steps=1)
    for player in ("generator", "discriminator"):
        config["model"][player]["norm"] = False  # a batch's own statistics are not the joint ones
    config["fabric"] = {"accelerator": "cpu", "devices": world, "strategy": strategy}
    config["disc_auxiliary_loss"] = config["disc_auxiliary_loss"][:1]
    config["gen_auxiliary_loss"] = config["gen_auxiliary_loss"][:1]
    config["gen_auxiliary_loss"][0]["sync_mean_buffer"] = True
    config["gen_auxiliary_loss"][0]["data_info"]["noise"] = "y"
    config["accumulate"] = 1
    config["optimizer"] = {"type": "Adam", "lr": 0.01, "clip_norm": 0.5}
    with pytest.MonkeyPatch.context() as patch:  # the trial step's batch has no "y"
        patch.setattr("losskit_train.run.loop.rehearse", lambda *_: None)
        trainer = Trainer(load_train_config(config))
    trainer.model.double()
    trainer.fabric = make_fabric(trainer.config)
    trainer.fabric.launch()
    trainer.engine = set_up(trainer, trainer.fabric)
    draw = torch.Generator().manual_seed(1)
    gradients = {}
    for _ in range(2):
        whole = {
            name: torch.randn(BATCH, *shape, generator=draw, dtype=torch.float64)
            for name, shape in {"real_imgs": (3, 4, 4), "y": (3, 4, 4), "noise": (3,)}.items()
        }
        part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
        batch = {name: value[part] for name, value in whole.items()}
        logs = trainer.model.train_step(batch, trainer.optimizers, engine=trainer.engine)
        assert {"loss_disc_fake", "loss_path_regular"} <= set(logs)
        trainer.ema.update(trainer.engine.raw(trainer.model.generator), step=0)
    for player in trainer.optimizers:
        network = trainer.engine.raw(getattr(trainer.model, player))
        spread = {name: p.grad for name, p in network.named_parameters()}
        gradients[player] = resume.whole(spread)
    made = resume.gather(trainer)
    if rank == 0:
        checkpoints.save(out, 1, made, keep=1)
    return {"gradients": gradients, **{k: made[k] for k in ("networks", "ema", "optimizers")}}


def _train(rank, world, strategy, out, moment):
    """A whole run; at ``moment``, a rank and a number of its generator passes, that rank dies."""
    if moment and moment[0] == rank:
        model = sys.modules["losskit_gan.model.customized"].GANWithCustomizedLoss
        real, left = model.generator_outputs, [moment[1]]

        def counting(self, *arguments, **named):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *arguments, **named)

        model.generator_outputs = counting
    fabric = {"accelerator": "cpu", "devices": world, "strategy": strategy}
    trainer = Trainer(load_train_config(_config(out=str(out), fabric=fabric)))
    trainer.run(resume=True)
    networks = {name: getattr(trainer.model, name) for name in trainer.optimizers}
    networks["ema"] = trainer.ema.module
    learnt = {name: dict(net.named_parameters()) for name, net in networks.items()}
    torch.save(resume.whole(learnt), out / f"rank-{rank}.pt")


def _together(store, job):
    """Fork two ranks, run ``job(rank)`` in each; gives their exit codes."""
    store.unlink(missing_ok=True)
    children = []
    for rank in range(2):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        try:
            # As torchrun tells its processes who they are; the store spares the search for a port.
            os.environ.update(
                TORCHELASTIC_RUN_ID="1", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
                GROUP_RANK="0", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT="1",
            )  # fmt: skip
            dist.init_process_group(
                "gloo",
                init_method=store.as_uri(),
                rank=rank,
                world_size=2,
                timeout=timedelta(seconds=90),  # for the one that waits for a killed one
            )
            job(rank)
            dist.destroy_process_group()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _main(folder):
    torch.set_num_threads(1)
    for module in ("lightning_fabric.strategies.model_parallel", "torch.distributed.fsdp"):
        importlib.import_module(module)  # once, not in each child
    codes = {}
    store = folder / "store"

    def losses(rank):
        torch.save(_gradients(rank, 2, DistributedDataParallel), folder / f"losses-{rank}.pt")

    codes["losses"] = _together(store, losses)
    for strategy in STRATEGIES:

        def update(rank, strategy=strategy):
            made = _one_update(rank, 2, strategy, folder / f"{strategy}-update")
            torch.save(made, folder / f"{strategy}-{rank}.pt")

        codes[f"{strategy}-update"] = _together(store, update)
        for out, moment in (("whole", None), ("killed", (1, 7)), ("killed", None)):
            codes[f"{strategy}-{out}-{moment}"] = _together(
                store,
                lambda rank, s=strategy, o=out, m=moment: _train(rank, 2, s, folder / s / o, m),
            )
    images = folder / "bad"
    shutil.copytree(folder / "images", images)
    content = (images / "0.png").read_bytes()
    (images / "0.png").write_bytes(content[: len(content) // 2])  # its header is fine
    data = {"images": str(images), "size": 4, "batch_size": 4}

    def bad(rank):
        config = load_train_config(_config(out=str(folder / "bad-run"), data=data))
        with pytest.MonkeyPatch.context() as patch:  # it may meet the image
            patch.setattr("losskit_train.run.loop.rehearse", lambda *_: None)
            trainer = Trainer(config)
        try:
            trainer.run()
        except LosskitError as error:
            (folder / f"bad-{rank}.txt").write_text(str(error))
            os._exit(3)  # as a process ends that says no more

    codes["bad"] = _together(store, bad)
    (folder / "codes.json").write_text(json.dumps(codes))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder with what two processes left, and how each pair of them ended."""
    from processes import run_python  # this file is a script too, which finds no tests/support
    from toyruns import write_images

    if not dist.is_gloo_available():
        pytest.skip("torch was built without gloo")
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder / "images", 7, 6, 5)
    done = run_python(__file__, folder, cwd=folder, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / "codes.json").read_text()), done.stderr


def _loaded(folder, name):
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)]


def test_losses_under_ddp_equal_the_joint_batch(ran):
    folder, codes, errors = ran
    assert codes["losses"] == [0, 0], errors[-3000:]
    first, second = _loaded(folder, "losses")
    torch.testing.assert_close(first, second, atol=1e-12, rtol=0)
    joint = _gradients(0, 1, lambda net: net)
    torch.testing.assert_close(first, joint, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_update_of_the_trainer_equals_the_joint_batchs(ran, strategy, monkeypatch):
    folder, codes, errors = ran
    assert codes[f"{strategy}-update"] == [0, 0], errors[-3000:]
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    joint = _one_update(0, 1, "auto", folder / "joint")
    for made in _loaded(folder, strategy):
        for key in ("gradients", "networks", "ema"):
            torch.testing.assert_close(made[key], joint[key], atol=1e-10, rtol=1e-8)
        for player, optimizer in made["optimizers"].items():
            assert list(optimizer["state"]) == list(joint["optimizers"][player]["state"])
            torch.testing.assert_close(
                optimizer["state"], joint["optimizers"][player]["state"], atol=1e-10, rtol=1e-8
            )
    # What was written by two can be read by one.
    generator, _ = generator_of(folder / f"{strategy}-update", allow_import=True)
    torch.testing.assert_close(
        dict(generator.double().state_dict()), dict(joint["ema"]), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_a_resumed_run_of_two_ends_bit_for_bit_the_same(ran, strategy, same):
    folder, codes, errors = ran
    assert codes[f"{strategy}-whole-None"] == [0, 0], errors[-3000:]
    assert codes[f"{strategy}-killed-(1, 7)"][1] == -signal.SIGKILL
    assert codes[f"{strategy}-killed-(1, 7)"][0] != 0
    assert codes[f"{strategy}-killed-None"] == [0, 0], errors[-3000:]
    whole, killed = (
        checkpoints.load(checkpoints.find(folder / strategy / out)) for out in ("whole", "killed")
    )
    assert whole["step"] == 6
    for side in (whole, killed):
        side["config"].pop("out")
    same(whole, killed)
    # Each rank has an average of its own here, and keeps it.
    name = "gen_objective.terms.1.loss.mean_path_length"
    first, second = (rank["objective"][name] for rank in whole["ranks"])
    assert first != second
    for name in ("metrics.csv", "samples/step-00000006.png"):
        assert (folder / strategy / "whole" / name).read_bytes() == (
            folder / strategy / "killed" / name
        ).read_bytes()


def test_an_image_that_one_process_finds_bad_is_one_line_on_each(ran):
    folder, codes, errors = ran
    assert codes["bad"] == [3, 3], errors[-3000:]
    said = sorted((folder / f"bad-{rank}.txt").read_text() for rank in range(2))
    assert said[0].startswith("another process of this run ended")
    assert "0.png as an image" in said[1]
    assert not any("\n" in text for text in said)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_ranks_end_with_the_same_networks(ran, strategy, same):
    for out in ("whole", "killed"):
        first, second = _loaded(ran[0] / strategy / out, "rank")
        assert set(first) == {"discriminator", "generator", "ema"}
        same(first, second)


def test_a_sharded_run_is_the_data_parallel_one(ran):
    folder = ran[0]
    ddp, fsdp = (
        checkpoints.load(checkpoints.find(folder / strategy / "whole")) for strategy in STRATEGIES
    )
    for key in ("networks", "ema"):
        torch.testing.assert_close(ddp[key], fsdp[key], atol=1e-4, rtol=1e-3)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
