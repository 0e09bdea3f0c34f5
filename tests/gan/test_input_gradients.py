"""What every penalty on a discriminator promises: compiled networks, mixed precision, known slopes."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import nn

from losskit_gan.adversarial.disc_shift import disc_shift_loss
from losskit_gan.penalties.consistency import BalancedConsistencyLoss, ConsistencyLoss
from losskit_gan.penalties.dragan import dragan_penalty, max_gradient_penalty
from losskit_gan.penalties.finite_difference import (
    FiniteDifferenceR1,
    FiniteDifferenceR2,
    finite_difference_penalty,
)
from losskit_gan.penalties.gradient_penalty import gradient_penalty_loss
from losskit_gan.penalties.input_gradients import input_gradients
from losskit_gan.penalties.lecam import LeCamLoss
from losskit_gan.penalties.path_length import GeneratorPathRegularizer
from losskit_gan.penalties.r1 import r1_penalty, r2_penalty

REAL, FAKE = torch.randn(2, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
# By the second derivative of the network: gone round compiled graphs, always in full precision.
SECOND_ORDER = {
    "R1": lambda net: r1_penalty(net, REAL, norm_mode="HWC"),
    "R2": lambda net: r2_penalty(net, FAKE),
    "WGAN-GP": lambda net: gradient_penalty_loss(net, REAL, FAKE, norm_mode="HWC"),
    "WGAN-GP, pixel": lambda net: gradient_penalty_loss(net, REAL, FAKE),
    "DRAGAN": lambda net: dragan_penalty(net, REAL),
    "max-GP": lambda net: max_gradient_penalty(net, REAL, FAKE),
}
FINITE = {
    "FD R1": lambda net: FiniteDifferenceR1()(net, REAL),
    "FD R2": lambda net: FiniteDifferenceR2()(net, FAKE),
}
# These judge logits, which the network gives in whatever precision it runs in.
ON_LOGITS = {
    "CR": lambda net: ConsistencyLoss(shift=2)(net, REAL),
    "bCR": lambda net: BalancedConsistencyLoss(shift=2)(net, REAL, FAKE),
    "disc shift": lambda net: disc_shift_loss(net(REAL)),
    "LeCam": lambda net: LeCamLoss(anchors=(0.5, -0.5))(net(REAL), net(FAKE)),
}
ALL = {**SECOND_ORDER, **FINITE, **ON_LOGITS}


def _network():
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 4, 3, 2, padding=1)
    return nn.Sequential(*layers, nn.Softplus(), nn.Flatten(), nn.Linear(64, 1))


def _value_and_gradient(penalty, network, autocast=None, scale=1.0):
    """The penalty with its random numbers fixed, and all its gradients in a row."""
    torch.manual_seed(1)
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        value = penalty(network)
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(value * scale, parameters, allow_unused=True)
    rows = [
        (torch.zeros_like(p) if g is None else g).flatten()
        for p, g in zip(parameters, gradients, strict=True)
    ]
    return value.detach(), torch.cat(rows) / scale


def _assert_same_under_autocast(penalty, network, dtype):
    expected, expected_gradient = _value_and_gradient(penalty, network)
    value, gradient = _value_and_gradient(penalty, network, dtype, scale=65536.0)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.fixture(scope="module")
def compiled():
    """A discriminator with a compiled graph, which nobody can differentiate twice."""
    network = torch.compile(_network(), backend="aot_eager")
    network(REAL)
    return network


def test_compiled_graphs_cannot_be_differentiated_twice(compiled):
    """Otherwise the next test would prove nothing."""
    leaf = REAL.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"double backward|create_graph=False"):  # noqa: PT012
        (slopes,) = torch.autograd.grad(compiled(leaf).sum(), leaf, create_graph=True)
        slopes.square().sum().backward()


@pytest.mark.parametrize("name", ALL)
def test_compiled_discriminator_gives_the_eager_value(name, compiled):
    value, gradient = _value_and_gradient(ALL[name], compiled)
    expected, expected_gradient = _value_and_gradient(ALL[name], _network())
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", {**SECOND_ORDER, **FINITE})
def test_penalties_are_in_full_precision_under_autocast(name, dtype):
    """Even under the first scale that a gradient scaler tries: nothing of theirs can overflow."""
    _assert_same_under_autocast(ALL[name], _network(), dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_penalties_of_a_function_take_images_that_mixed_precision_made(dtype):
    """A function's precision is not known; under autocast its network's is float32."""
    network, made = _network(), FAKE.to(dtype)
    noise, hidden = torch.randn_like(REAL), [network]
    with torch.autocast("cpu", dtype):
        for judge in (network.forward, functools.partial(network), lambda x: -hidden[0](x)):
            torch.testing.assert_close(r2_penalty(judge, made), r2_penalty(network, made))
            found = finite_difference_penalty(judge, made, noise=noise)
            torch.testing.assert_close(found, finite_difference_penalty(network, made, noise=noise))
    half = copy.deepcopy(network).to(dtype)
    assert r2_penalty(half.forward, made) > 0  # outside it, as they are


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_after_a_real_grad_scaler(name, dtype):
    penalty, network = ALL[name], _network()
    _, expected = _value_and_gradient(penalty, network)
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=dtype == torch.float16)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype):
        loss = penalty(network)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    gradients = [
        p.grad if p.grad is not None else torch.zeros_like(p) for p in network.parameters()
    ]
    found = torch.cat([g.flatten() for g in gradients])
    assert found.isfinite().all()
    tolerance = 1e-4 if name not in ON_LOGITS else 0.02 if dtype == torch.float16 else 0.1
    assert (found - expected).norm() <= tolerance * expected.norm()


def test_a_scaler_that_starts_too_high_recovers_with_the_right_step():
    """What overflows at 65536 is the hinge loss's own half-precision chain, with or without R1."""

    def hinge(network):
        on_real, on_fake = network(REAL), network(FAKE)
        return (1 - on_real.float()).relu().mean() + (1 + on_fake.float()).relu().mean()

    def loss(network):
        return hinge(network) + 5 * SECOND_ORDER["R1"](network)

    network = _network()
    _, expected = _value_and_gradient(loss, network)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18)
    skipped = 0
    while True:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            value = loss(network)
        scaler.scale(value).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() == scale:
            break
        skipped += 1
        assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
    assert 1 <= skipped < 10
    moved = [(b - p.detach()).flatten() for p, b in zip(network.parameters(), before, strict=True)]
    assert (torch.cat(moved) - expected).norm() <= 0.02 * expected.norm()


class _Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Softplus(), nn.Linear(16, 18))

    def forward(self, noise, num_batches, return_latents):
        latent = torch.randn(num_batches, 4).requires_grad_()
        return {"fake_img": self.net(latent).view(-1, 2, 3, 3), "latent": latent}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_path_lengths_are_in_full_precision_under_autocast(dtype):
    torch.manual_seed(0)
    generator = _Generator()

    def penalty(net):
        return GeneratorPathRegularizer()(net, 4)

    _assert_same_under_autocast(penalty, generator, dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_path_lengths_of_a_step_made_under_autocast(dtype):
    """Images and latents of the step itself: what is rounded is the generator's pass, no more."""
    torch.manual_seed(0)
    generator = _Generator()

    def penalty(net):
        made = net(None, 4, True)
        return GeneratorPathRegularizer()(fake_imgs=made["fake_img"], latents=made["latent"])

    expected, expected_gradient = _value_and_gradient(penalty, generator)
    value, gradient = _value_and_gradient(penalty, generator, dtype, scale=1024.0)
    coarse = 0.003 if dtype == torch.float16 else 0.03
    assert abs(value - expected) <= coarse * expected
    assert (gradient - expected_gradient).norm() <= coarse * expected_gradient.norm()
    assert not torch.equal(value, expected)  # autocast was on


def _functional_slopes(network, images):
    """torch.func's way to the same: a function of one image, differentiated, over the batch."""
    weights = {name: p.detach() for name, p in network.named_parameters()}

    def logit(image):
        return torch.func.functional_call(network, weights, (image[None],)).sum()

    return torch.func.vmap(torch.func.grad(logit))(images)


def test_penalties_equal_torch_func():
    network = _network()
    slopes = _functional_slopes(network, REAL)
    torch.testing.assert_close(input_gradients(network, REAL).detach(), slopes)
    norms = torch.linalg.vector_norm(slopes, dim=(1, 2, 3))
    torch.testing.assert_close(
        r1_penalty(network, REAL, norm_mode="HWC").detach(), norms.square().mean()
    )
    value = gradient_penalty_loss(network, REAL, REAL, norm_mode="HWC")  # interpolates are REAL
    torch.testing.assert_close(value.detach(), (norms - 1).square().mean())
    per_pixel = torch.linalg.vector_norm(slopes, dim=1)
    value = gradient_penalty_loss(network, REAL, REAL)
    torch.testing.assert_close(value.detach(), (per_pixel - 1).square().mean())
    value = max_gradient_penalty(network, REAL, REAL)
    torch.testing.assert_close(value.detach(), norms.square().max())


def test_slope_of_a_quadratic_by_hand():
    torch.testing.assert_close(input_gradients(lambda x: x.square() / 2, REAL), REAL)


def test_copies_of_the_network_are_gone_round_in_any_order():
    network = _network()
    wrapped = nn.DataParallel(torch.compile(copy.deepcopy(network), backend="aot_eager"))
    torch.testing.assert_close(input_gradients(wrapped, REAL), input_gradients(network, REAL))
