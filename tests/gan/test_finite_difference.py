"""Finite-difference R1 and R2 against the exact penalty and in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from losskit_gan.penalties.finite_difference import (
    FiniteDifferenceR1,
    FiniteDifferenceR2,
    finite_difference_penalty,
)
from losskit_gan.penalties.r1 import r1_penalty


def _network(dtype=torch.float64):
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 3, padding=1)
    return nn.Sequential(*layers).to(dtype)


def test_linear_discriminator_by_hand():
    weights, noise = (torch.randn(3, 2, 4, 4, dtype=torch.float64) for _ in range(2))

    def discriminator(x):
        return (x * weights[0]).flatten(1).sum(1)

    value = finite_difference_penalty(
        discriminator, torch.zeros_like(noise), noise=noise, reduction="none"
    )
    torch.testing.assert_close(value, (weights[0] * noise).sum((1, 2, 3)).square())


def test_quadratic_discriminator_by_hand():
    # D(x) = |x|²: (|x + σε|² - |x|²) / σ = 2<x, ε> + σ|ε|².
    images, noise = (torch.randn(3, 2, 4, 4, dtype=torch.float64) for _ in range(2))
    value = finite_difference_penalty(
        lambda x: x.square().sum((1, 2, 3)), images, sigma=0.1, noise=noise, reduction="none"
    )
    slope = (2 * (images * noise) + 0.1 * noise.square()).sum((1, 2, 3))
    torch.testing.assert_close(value, slope.square())


def test_expectation_is_r1_with_its_gradient():
    network = _network()
    one = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    exact = r1_penalty(network, one, norm_mode="HWC")
    (exact_gradient,) = torch.autograd.grad(exact, network[0].weight)
    many = one.expand(40_000, -1, -1, -1)
    estimate = FiniteDifferenceR1(sigma=1e-3)(network, many)
    (gradient,) = torch.autograd.grad(estimate, network[0].weight)
    # The variance of one draw is 2·R1², so that of this mean is (R1 / 140)².
    assert estimate.item() == pytest.approx(exact.item(), rel=0.04)
    assert (gradient - exact_gradient).norm() < 0.06 * exact_gradient.norm()


def test_known_logits_save_a_pass():
    network, real = _network(), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    noise = torch.randn_like(real)
    expected = finite_difference_penalty(network, real, noise=noise)
    assert len(calls) == 2
    value = finite_difference_penalty(network, real, noise=noise, logits=network(real))
    assert len(calls) == 4
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_mixed_precision_are_refused_whatever_their_type(dtype):
    network, real = _network(torch.float32), torch.randn(2, 2, 4, 4)
    with torch.autocast("cpu", dtype):
        logits = network(real).float()
    with pytest.raises(ValueError, match=f"logits are rounded to {dtype}"):
        FiniteDifferenceR2()(network, real, [[real, logits]])
    module = FiniteDifferenceR1()
    assert module(network, real, network(real)) >= 0
    assert FiniteDifferenceR1()(network, real, torch.zeros(2, 1)) >= 0  # starts at zero
    constant = FiniteDifferenceR1()
    assert constant(network, real, torch.ones(2, 1)) >= 0  # starts at its bias
    with pytest.raises(ValueError, match=f"logits are rounded to {dtype}"):
        constant(network, real, logits)  # and is looked at again


def test_compiled_discriminator_stays_compiled_and_trains():
    network, real = _network(torch.float32), torch.randn(2, 2, 4, 4)
    compiled = torch.compile(network, backend="aot_eager")
    noise = torch.randn_like(real)
    value = finite_difference_penalty(compiled, real, noise=noise)
    torch.testing.assert_close(value, finite_difference_penalty(network, real, noise=noise))
    value.backward()
    assert network[0].weight.grad.norm() > 0


def test_autocast_is_off_inside():
    network, real = _network(torch.float32), torch.randn(2, 2, 4, 4)
    noise = torch.randn_like(real)
    expected = finite_difference_penalty(network, real, noise=noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(finite_difference_penalty(network, real, noise=noise), expected)


class Noisy(nn.Module):
    """StyleGAN-like noise, and a buffer that is replaced, not written to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.ones(()))

    def forward(self, images):
        if self.training:
            self.calls = self.calls + 1
        return images * self.calls + torch.randn_like(images)


def _spectral(norm):
    body = norm(nn.Linear(32, 16)), nn.Softplus(), norm(nn.Linear(16, 1))
    return nn.Sequential(nn.Flatten(), *body)


MOVING = {
    "spectral norm": lambda: _spectral(nn.utils.parametrizations.spectral_norm),
    "old spectral norm": lambda: _spectral(nn.utils.spectral_norm),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, 1)),
    "noise": lambda: nn.Sequential(Noisy(), nn.Flatten(), nn.Linear(32, 1)),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", MOVING)
def test_what_a_pass_changes_in_the_network_is_no_slope(name, compiled):
    torch.manual_seed(0)
    network, real = MOVING[name](), torch.randn(2, 2, 4, 4)
    if compiled:
        network.compile(backend="aot_eager")
    for _ in range(3):
        value = finite_difference_penalty(network, real, noise=torch.zeros_like(real))
        assert value == 0
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))  # as a step would: the norm must follow
    value = finite_difference_penalty(network, real)
    value.backward()
    assert value > 0
    assert max(p.grad.norm() for p in network.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("name", MOVING)
def test_a_penalty_leaves_a_network_as_one_pass_would(name):
    torch.manual_seed(0)
    network, real = MOVING[name](), torch.randn(2, 2, 4, 4)
    other = MOVING[name]()
    other.load_state_dict(network.state_dict())
    torch.manual_seed(1)
    finite_difference_penalty(network, real, noise=torch.ones_like(real))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    other(real)
    assert torch.equal(torch.rand(1), drawn)
    torch.testing.assert_close(dict(network.named_buffers()), dict(other.named_buffers()))


@pytest.mark.parametrize("name", MOVING)
def test_known_logits_of_a_network_whose_passes_differ_are_refused(name):
    network, real = MOVING[name](), torch.randn(2, 2, 4, 4)
    with pytest.raises(
        ValueError, match=r"passes differ by themselves .*: leave logits out"
    ) as caught:
        finite_difference_penalty(network, real, logits=network(real))
    assert "\n" not in str(caught.value)
    network.eval()
    if name != "noise":
        zero = finite_difference_penalty(network, real, logits=network(real), noise=0 * real)
        assert zero == 0


@pytest.mark.parametrize("way", [lambda net: lambda images: -net(images), lambda net: net.forward])
@pytest.mark.parametrize("name", MOVING)
def test_a_function_of_images_is_no_other_than_its_network(name, way):
    torch.manual_seed(0)
    network, real = MOVING[name](), torch.randn(2, 2, 4, 4)
    assert finite_difference_penalty(way(network), real, noise=torch.zeros_like(real)) == 0
    with pytest.raises(ValueError, match="leave logits out"):
        finite_difference_penalty(way(network), real, logits=network(real))


def test_buffers_that_belong_together_are_put_back_together():
    class Queue(nn.Module):
        """Remembers a mean by its first batch, and how often it was called where."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(2, 4, 4))
            self.register_buffer("begun", torch.tensor(False))
            self.register_buffer("queue", torch.zeros(4))
            self.register_buffer("place", torch.tensor(0))

        def forward(self, images):
            if not self.begun:
                self.mean.copy_(images.mean(0))
                self.begun.fill_(True)
            self.queue[self.place] = 1
            self.place += 1
            return (images - self.mean) * self.place

    network = nn.Sequential(Queue(), nn.Flatten(), nn.Linear(32, 1))
    real = torch.randn(2, 2, 4, 4)
    for calls in (1, 2):
        assert finite_difference_penalty(network, real, noise=torch.zeros_like(real)) == 0
        torch.testing.assert_close(network[0].mean, real.mean(0))
        assert network[0].queue.tolist() == [1.0] * calls + [0.0] * (4 - calls)
        assert network[0].place == calls


def test_networks_that_begin_and_end_without_gradients():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(1))
    assert finite_difference_penalty(lazy, torch.randn(2, 2, 4, 4)) > 0
    with torch.inference_mode():
        network = _spectral(nn.utils.parametrizations.spectral_norm)
        real = torch.randn(2, 2, 4, 4)
        assert finite_difference_penalty(network, real, noise=0 * real) == 0


def test_batch_normalisation_is_no_hindrance_to_known_logits():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 1))
    real, noise = torch.randn(2, 3, 2, 4, 4).unbind()
    expected = finite_difference_penalty(network, real, noise=noise)
    value = finite_difference_penalty(network, real, noise=noise, logits=network(real))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("module", [FiniteDifferenceR1(sigma=0.1), FiniteDifferenceR2(sigma=0.1)])
def test_gradcheck_and_gradgradcheck(module):
    real = torch.randn(2, 2, 2, 2, dtype=torch.float64)

    def penalty(weight):
        torch.manual_seed(0)
        return module(lambda x: (x * weight).sigmoid(), real)

    weight = torch.rand(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)
    assert torch.autograd.gradgradcheck(penalty, weight)


def test_modules_equal_the_function_and_images_get_no_gradient():
    network, images = _network(), torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for module in (FiniteDifferenceR1(sigma=0.1), FiniteDifferenceR2(sigma=0.1)):
        torch.manual_seed(3)
        expected = finite_difference_penalty(network, images, sigma=0.1)
        torch.manual_seed(3)
        value = module(network, images)
        torch.testing.assert_close(value, expected)
        value.backward()
    assert images.grad is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FiniteDifferenceR1(sigma=0.0), ValueError, "sigma must be positive, not 0.0"),
        (lambda: FiniteDifferenceR1(reduction="avg"), ValueError, "reduction must be one of"),
        (
            lambda: finite_difference_penalty(nn.Tanh(), torch.ones(2, 2), sigma=-1.0),
            ValueError,
            "sigma must be positive",
        ),
        (lambda: finite_difference_penalty(nn.Tanh(), None), TypeError, "images must be a tensor"),
        (
            lambda: finite_difference_penalty(nn.Tanh(), torch.ones(2, 2), noise=torch.ones(1)),
            ValueError,
            "noise must have the images' shape",
        ),
        (
            lambda: finite_difference_penalty(nn.Tanh(), torch.ones(2, 2), noise=1),
            TypeError,
            "noise must be a tensor or None, not int",
        ),
        (
            lambda: finite_difference_penalty(nn.Linear(2, 1).bfloat16(), torch.ones(2, 2)),
            TypeError,
            "differences in torch.bfloat16 are too coarse: keep images and",
        ),
        (
            lambda: finite_difference_penalty(nn.Tanh(), torch.ones(2, 2), logits=torch.ones(3)),
            ValueError,
            "logits are of 3 samples, images of 2",
        ),
        (
            lambda: finite_difference_penalty(
                nn.Tanh(), torch.ones(2, 2), logits=[torch.ones(2).bfloat16()]
            ),
            TypeError,
            "logits in torch.bfloat16 are too coarse",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
