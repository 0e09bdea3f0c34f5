"""Each player's function against GANLoss and against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from losskit_gan.adversarial import formulas
from losskit_gan.adversarial.gan_loss import GANLoss

REAL = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.0], dtype=torch.float64)
BY_HAND = {
    "vanilla": (
        (math.log1p(math.exp(-2)) + math.log1p(math.exp(1)) + math.log1p(math.exp(-0.5))) / 3
        + (math.log1p(math.exp(-3)) + math.log(2)) / 2,
        (math.log1p(math.exp(3)) + math.log(2)) / 2,
    ),
    "lsgan": ((1 + 4 + 0.25) / 3 + (9 + 0) / 2, (16 + 1) / 2),
    "l1": ((1 + 2 + 0.5) / 3 + 3 / 2, (4 + 1) / 2),
    "wgan": (-0.5 - 1.5, 1.5),
    "hinge": ((0 + 2 + 0.5) / 3 + (0 + 1) / 2, 1.5),
}
BY_HAND["logistic"] = BY_HAND["vanilla"]


def _players(kind):
    return (
        getattr(formulas, f"{kind}_discriminator_loss"),
        getattr(formulas, f"{kind}_generator_loss"),
    )


@pytest.mark.parametrize("kind", BY_HAND)
def test_equals_hand_computed(kind):
    discriminator, generator = _players(kind)
    expected_d, expected_g = BY_HAND[kind]
    assert discriminator(REAL, FAKE).item() == pytest.approx(expected_d, abs=1e-12)
    assert generator(FAKE).item() == pytest.approx(expected_g, abs=1e-12)


@pytest.mark.parametrize("kind", BY_HAND)
def test_equals_the_configured_loss(kind):
    discriminator, generator = _players(kind)
    loss = GANLoss("wgan-logistic-ns" if kind == "logistic" else kind)
    real, fake = [REAL, REAL[:1]], [FAKE, FAKE * 2]
    expected = loss(real, True, is_disc=True) + loss(fake, False, is_disc=True)
    torch.testing.assert_close(discriminator(real, fake), expected)
    torch.testing.assert_close(generator(fake), loss(fake, True))


@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "l1"])
def test_labels(kind):
    discriminator, generator = _players(kind)
    loss = GANLoss(kind, real_label_val=0.9, fake_label_val=-0.1)
    expected = loss(REAL, True, is_disc=True) + loss(FAKE, False, is_disc=True)
    torch.testing.assert_close(discriminator(REAL, FAKE, real_label=0.9, fake_label=-0.1), expected)
    torch.testing.assert_close(generator(FAKE, real_label=0.9), loss(FAKE, True))


def test_message_names_the_player_s_argument():
    with pytest.raises(TypeError, match="fake_logits must hold floating-point logits"):
        formulas.hinge_generator_loss(FAKE.long())
