"""DRAGAN and max-GP in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from losskit_gan.penalties.dragan import (
    DRAGANPenalty,
    MaxGradientPenalty,
    dragan_penalty,
    max_gradient_penalty,
)


def _real():
    return torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_dragan_of_a_linear_discriminator():
    weights = _real()[0]
    value = DRAGANPenalty()(lambda x: (x * weights).flatten(1).sum(1), _real())
    torch.testing.assert_close(value, (weights.norm() - 1).square())


def test_dragan_stays_within_its_perturbation():
    # D(x) = |x|²/2 has the slope x: the norms are those of the points that were looked at.
    seen = []

    def discriminator(x):
        seen.append(x.detach() - _real())
        return x.square() / 2

    dragan_penalty(discriminator, _real(), scale=0.5)
    largest = 0.5 * _real().std(correction=0)
    assert 0 <= seen[0].min() < seen[0].max() <= largest
    dragan_penalty(discriminator, _real(), scale=0.0)
    assert (seen[1] == 0).all()


def test_dragan_of_a_quadratic_discriminator():
    # D(x) = |x|²/2 has the slope x wherever it is looked at.
    seen = []

    def discriminator(x):
        seen.append(x.detach())
        return x.square() / 2

    value = dragan_penalty(discriminator, _real(), reduction="none")
    torch.testing.assert_close(value, (seen[0].square().sum((1, 2, 3)).sqrt() - 1).square())


def test_max_gp_of_a_quadratic_discriminator():
    real = _real()
    value = max_gradient_penalty(lambda x: x.square() / 2, real, real)
    torch.testing.assert_close(value, max(image.square().sum() for image in real))


def test_max_gp_takes_the_steepest_sample():
    real = _real()
    slopes = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    value = MaxGradientPenalty()(lambda x: x[:, 0, 0, 0] * slopes, real, real)
    assert value == 9


@pytest.mark.parametrize("name", ["dragan", "max"])
def test_gradcheck_and_gradgradcheck(name):
    real = _real()[:, :, :2, :2]

    def penalty(weight):
        torch.manual_seed(0)
        if name == "dragan":
            return dragan_penalty(lambda x: (x * weight).sigmoid(), real)
        return max_gradient_penalty(lambda x: (x * weight).sigmoid(), real, real.flip(0))

    weight = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)
    assert torch.autograd.gradgradcheck(penalty, weight)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: dragan_penalty(nn.Tanh(), torch.ones(2, 2), scale=-1.0),
            ValueError,
            "scale must be at least 0, not -1.0",
        ),
        (lambda: DRAGANPenalty(scale=-1.0), ValueError, "scale must be at least 0, not -1.0"),
        (lambda: DRAGANPenalty(reduction="avg"), ValueError, "reduction must be one of"),
        (lambda: dragan_penalty(nn.Tanh(), None), TypeError, "real_data must be a tensor"),
        (
            lambda: max_gradient_penalty(nn.Tanh(), _real(), _real()[:1]),
            ValueError,
            "must have one shape",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
