"""Run as a script: trainings of one or two processes on the CPU, some of which are shot at.

Reads a list of jobs as JSON, ``{"name", "config", "world", "event"}``, runs each in processes forked
from one that has imported everything, and prints how each ended: its exit code, or ``hangs``.
Tests read what they left in the working folder.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

SECONDS = 60  # for a job; what takes longer hangs
STOPPED = 130


class Upsampler(nn.Module):
    """A generator from images: nothing in a step is random."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.Softplus(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(6, 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.layers(x)


class FromNoise(nn.Module):
    """A generator whose latents path lengths act on; with ``norm`` it keeps averages."""

    latent_dim = 3

    def __init__(self, size=8, norm=True):
        super().__init__()
        self.size = size
        self.mapping = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5) if norm else nn.Identity()
        self.image = nn.Linear(5, 3 * size * size)

    def forward(self, noise=None, num_batches=0, return_latents=False):
        own = noise is None  # as path lengths of its own passes ask for
        latent = self.mapping(torch.randn(num_batches, 3) if own else noise).tanh()
        images = self.image(self.norm(latent)).sin().reshape(-1, 3, self.size, self.size).clone()
        if own:
            return {"fake_img": images, "latent": latent}
        return (images, latent) if return_latents else images


class Judge(nn.Sequential):
    """A discriminator."""

    def __init__(self, norm=False):
        after = nn.BatchNorm2d(4) if norm else nn.Identity()
        first = nn.Conv2d(3, 4, 3, bias=not norm)
        super().__init__(first, after, nn.Softplus(), nn.Conv2d(4, 1, 2))


def _arm(event, rank):
    """Let this rank meet what the job has for it."""
    from losskit_train.run import checkpoints, loop, resume

    if event is None or rank not in event["ranks"]:
        return
    number = getattr(signal, event["signal"])

    def shoot():
        if event.get("group"):
            os.killpg(os.getpgrp(), number)
        else:
            os.kill(os.getpid(), number)

    left = [event["number"]]

    def counting(real, after, counts):
        def call(*arguments, **named):
            left[0] -= counts(*arguments)
            now = left[0] == 0 and counts(*arguments)
            if now and not after:
                shoot()
            made = real(*arguments, **named)
            if now and after:
                shoot()
            return made

        return call

    def half_written(real, *_):
        def write(path, content):
            left[0] -= path.suffix == ".pt"
            if left[0] == 0:
                path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[::2])
                shoot()
            real(path, content)

        return write

    def always(*_):
        return True

    def seals(path, *_):
        return path.name.endswith(".seal.json")

    model = importlib.import_module("losskit_gan.model.customized").GANWithCustomizedLoss
    owner, name, how, *details = {
        "step": (loop.Trainer, "_one_step", counting, True, always),  # a step is done
        "update": (model, "generator_outputs", counting, False, always),  # one player's update is
        "gather": (resume, "_own", counting, False, always),  # in the middle of a state's making
        "half": (checkpoints, "write_atomically", half_written),
        "seal": (checkpoints, "write_atomically", counting, True, seals),  # without its state
        "prune": (checkpoints, "_prune", counting, False, always),  # old ones are still there
        "samples": (loop.Trainer, "write_samples", counting, False, always),  # a row is written
    }[event["at"]]
    setattr(owner, name, how(getattr(owner, name), *details))


def _train(job, rank):
    from losskit_train.config.training import load_train_config
    from losskit_train.run import resume
    from losskit_train.run.interrupt import Stopped
    from losskit_train.run.loop import Trainer

    config = load_train_config(job["config"])
    _arm(job["event"], rank)
    trainer = Trainer(config)
    try:
        trainer.run(resume=True)
    except Stopped as stop:
        Path(f"{job['name']}-{rank}.txt").write_text(f"{stop.step} {stop.checkpoint}")
        return STOPPED
    networks = {name: getattr(trainer.model, name) for name in trainer.optimizers}
    networks["ema"] = trainer.ema.module
    learnt = {name: dict(network.named_parameters()) for name, network in networks.items()}
    torch.save(resume.whole(learnt), f"{job['name']}-{rank}.pt")
    return 0


def _fork(job, store, rank, world):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgrp()
        if world > 1:
            # As torchrun tells its processes who they are; the store spares the search for a port.
            os.environ.update(
                TORCHELASTIC_RUN_ID="1", RANK=str(rank), LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world), GROUP_RANK="0", LOCAL_WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1", MASTER_PORT="1",
            )  # fmt: skip
            dist.init_process_group(
                "gloo",
                init_method=store.as_uri(),
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=SECONDS),
            )
        code = _train(job, rank)
        if world > 1:
            dist.destroy_process_group()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(children):
    """Each process's exit code; what hangs is killed."""
    ended, deadline = {}, time.monotonic() + SECONDS
    while len(ended) < len(children):
        for child in set(children) - set(ended):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                ended[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            for child in set(children) - set(ended):
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                ended[child] = "hangs"
        time.sleep(0.01)
    return [ended[child] for child in children]


def _main():
    torch.set_num_threads(1)
    for module in ("lightning_fabric.strategies.model_parallel", "torch.distributed.fsdp"):
        importlib.import_module(module)  # once, not in each child
    importlib.import_module("losskit_train.run.loop")
    # A few steps see an overflow otherwise; and eager kernels are what compiled passes are held to.
    scaler, compile_ = torch.amp.GradScaler.__init__, nn.Module.compile
    torch.amp.GradScaler.__init__ = lambda self, device: scaler(self, device, init_scale=2.0**10)
    nn.Module.compile = lambda self: compile_(self, backend="aot_eager")
    store = Path("store").absolute()
    for job in json.load(sys.stdin):
        store.unlink(missing_ok=True)
        if job["config"]["model"].get("compile") and "torch._dynamo" not in sys.modules:
            warm = nn.Linear(2, 2)  # not before the others, which would not be as without it
            warm.compile()
            warm(torch.zeros(1, 2)).sum().backward()
        world, began = job["world"], time.monotonic()
        codes = _wait([_fork(job, store, rank, world) for rank in range(world)])
        sys.stdout.write(
            json.dumps([job["name"], codes, round(time.monotonic() - began, 1)]) + "\n"
        )


if __name__ == "__main__":
    _main()
