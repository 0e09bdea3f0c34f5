"""Finite-difference R1 and R2 against the exact penalty and in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from losskit_gan.finite_difference import (
    FiniteDifferenceR1,
    FiniteDifferenceR2,
    finite_difference_penalty,
)
from losskit_gan.r1 import r1_penalty


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
    assert module(network, real, torch.zeros(2, 1)) >= 0  # a discriminator that starts at zero


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


@pytest.mark.parametrize("module", [FiniteDifferenceR1(0.1), FiniteDifferenceR2(0.1)])
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
    for module in (FiniteDifferenceR1(0.1), FiniteDifferenceR2(0.1)):
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
        (lambda: FiniteDifferenceR1(0.0), ValueError, "sigma must be positive, not 0.0"),
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
