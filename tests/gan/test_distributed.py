"""Two processes under DDP give the gradients of one process with the joint batch."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from losskit_gan.lecam import LeCamLoss
from losskit_gan.path_length import GeneratorPathRegularizer
from losskit_gan.players import hinge_discriminator_loss, hinge_generator_loss
from losskit_gan.r1 import R1GradientPenalty

BATCH = 4


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
    penalty = R1GradientPenalty("HWC")(discriminator, real)
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


def _worker(rank, world, folder):
    torch.set_num_threads(1)
    address = (folder / "store").as_uri()  # a port would have to be found free, and could be lost
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    try:
        torch.save(_gradients(rank, world, DistributedDataParallel), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_equal_the_joint_batch(tmp_path):
    # This very file as a script: what a spawned process would have to import depends on the runner.
    command = [sys.executable, __file__]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for process in ranks:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second, atol=1e-12, rtol=0)
    joint = _gradients(0, 1, lambda net: net)
    torch.testing.assert_close(first, joint, atol=1e-5, rtol=1e-5)


if __name__ == "__main__":
    _worker(int(sys.argv[1]), 2, Path(sys.argv[2]))
