"""WGAN-GP in closed form: slopes that do not depend on where between the images one looks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from losskit_gan.penalties.gradient_penalty import GradientPenaltyLoss, gradient_penalty_loss

SHAPE = (3, 2, 4, 5)


def _pair():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, dtype=torch.float64, generator=generator) for _ in range(2)]


def test_linear_discriminator():
    real, fake = _pair()
    weights = real[0]

    def discriminator(x):
        return (x * weights).flatten(1).sum(1)

    value = gradient_penalty_loss(discriminator, real, fake, norm_mode="HWC")
    torch.testing.assert_close(value, (weights.norm() - 1).square())
    value = gradient_penalty_loss(discriminator, real, fake)
    torch.testing.assert_close(value, (weights.norm(dim=0) - 1).square().mean())
    value = gradient_penalty_loss(discriminator, real, fake, norm_mode="HWC", center=3.0)
    torch.testing.assert_close(value, (weights.norm() - 3).square())


def test_interpolates_with_one_alpha_per_sample():
    # D(x) = |x|²/2 has the slope x, so the penalty shows the points that were drawn.
    real, fake = torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2)
    torch.manual_seed(1)
    norms = 1 + gradient_penalty_loss(
        lambda x: x.square() / 2, real, fake, norm_mode="HWC", reduction="none", center=0.0
    )
    torch.manual_seed(1)
    alpha = torch.rand(64, 1, 1, 1).flatten()
    torch.testing.assert_close(norms - 1, (2 * (1 - alpha)).square())


def test_one_sided_forgives_small_slopes():
    real, fake = _pair()
    for slope, expected in ((0.5, 0.0), (3.0, 4.0)):
        value = gradient_penalty_loss(
            lambda x, slope=slope: x[:, 0, 0, 0] * slope,
            real,
            fake,
            norm_mode="HWC",
            one_sided=True,
        )
        assert value.item() == pytest.approx(expected)


def test_mask_multiplies_gradients_and_divides_by_its_mean():
    real, fake = _pair()
    mask = torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    mask[:, :, :1] = 1
    value = GradientPenaltyLoss()(lambda x: 3 * x[:, :1], real, fake, mask)
    # Slope 3 in a quarter of the pixels, 0 in the others: ((3-1)²/4 + (0-1)²·3/4) / (1/4).
    assert value.item() == pytest.approx((4 / 4 + 3 / 4) * 4)


def test_gradient_is_finite_where_the_slope_is_zero():
    layer = nn.Linear(4, 1, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    x = torch.randn(3, 4, dtype=torch.float64)
    gradient_penalty_loss(layer, x, x, norm_mode="HWC").backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("norm_mode", ["pixel", "HWC"])
def test_gradcheck_and_gradgradcheck(norm_mode):
    real, fake = (x[:, :, :2, :2] for x in _pair())

    def penalty(weight):
        torch.manual_seed(0)
        return gradient_penalty_loss(
            lambda x: (x * weight).sigmoid(), real, fake, norm_mode=norm_mode
        )

    weight = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)
    assert torch.autograd.gradgradcheck(penalty, weight)


def test_no_gradient_reaches_the_images():
    real, fake = (x.requires_grad_() for x in _pair())
    GradientPenaltyLoss()(nn.Conv2d(2, 1, 3, dtype=torch.float64), real, fake).backward()
    assert real.grad is None
    assert fake.grad is None


def test_fake_images_in_half_precision():
    real, fake = (x.float() for x in _pair())
    value = GradientPenaltyLoss()(nn.Conv2d(2, 1, 3), real, fake.bfloat16())
    assert value.dtype == torch.float32


def test_bad_arguments():
    with pytest.raises(ValueError, match="norm_mode must be one of pixel, HWC, not 'channel'"):
        GradientPenaltyLoss(norm_mode="channel")
    with pytest.raises(ValueError, match="reduction must be one of"):
        GradientPenaltyLoss(reduction="avg")
    with pytest.raises(ValueError, match=r"must have one shape, not \(2, 3\) and \(1, 3\)"):
        gradient_penalty_loss(nn.Tanh(), torch.ones(2, 3), torch.ones(1, 3))
    with pytest.raises(TypeError, match="fake_data must be a tensor"):
        gradient_penalty_loss(nn.Tanh(), torch.ones(2, 3), None)
