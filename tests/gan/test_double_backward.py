"""Batch normalisation under ``torch.compile``: penalties may come before compiled passes, or between."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import nn

from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_gan.penalties.double_backward import as_written, statistics_apart
from losskit_gan.penalties.dragan import dragan_penalty
from losskit_gan.penalties.gradient_penalty import gradient_penalty_loss
from losskit_gan.penalties.path_length import GeneratorPathRegularizer
from losskit_gan.penalties.r1 import r1_penalty

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks


@pytest.fixture(autouse=True)
def _nothing_compiled_yet():
    """Beyond a number of graphs for one piece of code, which other tests count to, it runs as written."""
    torch.compiler.reset()


class _Generator(nn.Module):
    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.mapping, self.image = nn.Linear(3, 4), nn.Linear(4, 3 * 36)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, noise=None, num_batches=0, return_latents=False):
        if noise is None:
            noise = torch.randn(num_batches, 3)
        latent = self.mapping(noise).tanh()
        image = self.image(self.norm(latent)).sin().reshape(-1, 3, 6, 6)
        return {"fake_img": image, "latent": latent} if return_latents else image


def _discriminator():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(4 * 16, 1),
    )


def _compiled(network):
    network = copy.deepcopy(network)
    network.compile(backend="aot_eager")
    return network


def _state(*networks):
    gradients = [p.grad for net in networks for p in net.parameters()]
    return [*gradients, *(b for net in networks for b in net.buffers())]


PENALTIES = {
    "R1": lambda disc, real, fake: r1_penalty(disc, real, norm_mode="HWC"),
    "WGAN-GP": lambda disc, real, fake: gradient_penalty_loss(disc, real, fake, norm_mode="HWC"),
    "DRAGAN": lambda disc, real, fake: dragan_penalty(disc, real),
}


@pytest.mark.parametrize("place", ["first", "between", "last"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_penalty_anywhere_among_compiled_passes_is_the_eager_step(penalty, place):
    network = _discriminator()
    real, fake = torch.randn(2, 4, 3, 6, 6)
    made = []
    for disc in (copy.deepcopy(network), _compiled(network)):
        torch.manual_seed(1)
        parts = [lambda: disc(fake).mean(), lambda: -disc(real).mean()]  # noqa: B023
        index = ("first", "between", "last").index(place)
        parts.insert(index, lambda: PENALTIES[penalty](disc, real, fake))  # noqa: B023
        for _ in range(2):
            sum(part() for part in parts).backward()
        made.append(_state(disc))
    torch.testing.assert_close(*made)
    assert made[0][-1] == 6  # every pass of both steps is in the averages


def test_path_lengths_among_a_generator_s_compiled_passes():
    generator, noise = _Generator(), torch.randn(4, 3)
    made = []
    for gen in (copy.deepcopy(generator), _compiled(generator)):
        torch.manual_seed(1)
        lengths = GeneratorPathRegularizer()(gen, 4)
        (lengths + gen(noise).square().mean()).backward()
        made.append(_state(gen))
    torch.testing.assert_close(*made)


def test_a_model_s_steps_whatever_the_order_of_terms():
    routes = {"discriminator": "disc", "real_data": "real_imgs"}
    losses = {
        # It makes a pass of the discriminator of its own, compiled, after others that are not.
        "gan_loss": {"type": "AdvLoss", "loss_type": "ragan-ls"},
        "disc_auxiliary_loss": [
            {"type": "R1GradientPenalty", "norm_mode": "HWC", "data_info": routes},
            {"type": "FiniteDifferenceR1", "data_info": routes},  # of compiled passes
        ],
        "gen_auxiliary_loss": [
            {
                "type": "GeneratorPathRegularizer",
                "interval": 2,
                "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
            },
        ],
    }
    generator, discriminator = _Generator(), _discriminator()
    real = torch.randn(4, 3, 6, 6)
    made = []
    for way in (copy.deepcopy, _compiled):
        torch.manual_seed(1)
        model = GANWithCustomizedLoss(way(generator), way(discriminator), **losses)
        players = {"generator": model.generator, "discriminator": model.discriminator}
        optimizers = {
            name: torch.optim.SGD(net.parameters(), 0.01) for name, net in players.items()
        }
        for _ in range(3):
            model.train_step(real, optimizers)
        made.append([t for net in players.values() for t in net.state_dict().values()])
    torch.testing.assert_close(*made)


def test_the_averages_stay_the_layer_s_own():
    network = _compiled(_discriminator())
    mean, before = network[1].running_mean, network[1].running_mean.clone()

    def judge(images):
        return network(images)

    with contextlib.suppress(RuntimeError), statistics_apart(judge, None, len):
        network(torch.randn(4, 3, 6, 6))
        assert network[1].running_mean is not mean
        raise RuntimeError("midway")
    assert network[1].running_mean is mean
    assert not torch.equal(mean, before)
    network.eval()
    with statistics_apart(network):
        assert network[1].running_mean is mean


def test_compiled_networks_run_as_written_can_be_differentiated_twice():
    network = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    compiled = torch.compile(copy.deepcopy(network), backend="aot_eager")
    x = torch.randn(3, 2, requires_grad=True)
    compiled(x)

    def slope(module):
        (first,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        return second

    with as_written():
        torch.testing.assert_close(slope(compiled), slope(network))
    with pytest.raises(RuntimeError, match="does not currently support double backward"):
        slope(compiled)
