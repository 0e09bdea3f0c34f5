"""Relativistic losses by hand and against torch's criteria."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from losskit_gan.adversarial import relativistic
from losskit_gan.adversarial.relativistic import KINDS, RelativisticGANLoss

REAL = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.0, 1.5], dtype=torch.float64)


def _softplus(x):
    return math.log1p(math.exp(x))


def test_paired_by_hand():
    differences = [5.0, -1.0, -1.0]
    loss = RelativisticGANLoss(kind="rpgan")
    expected = sum(_softplus(-d) for d in differences) / 3
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected)
    expected = sum(_softplus(d) for d in differences) / 3
    assert loss.generator(REAL, FAKE).item() == pytest.approx(expected)


def test_paired_equals_torch_s_soft_margin():
    loss, ones = RelativisticGANLoss(kind="rpgan"), torch.ones_like(REAL)
    torch.testing.assert_close(
        loss.discriminator(REAL, FAKE), F.soft_margin_loss(REAL - FAKE, ones)
    )
    torch.testing.assert_close(loss.generator(REAL, FAKE), F.soft_margin_loss(FAKE - REAL, ones))


def test_average_equals_torch_s_cross_entropy():
    # ESRGAN's definition, with the means written out: mean(REAL) = 0.5, mean(FAKE) = -0.5.
    ones, zeros = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    bce = torch.nn.BCEWithLogitsLoss()
    loss = RelativisticGANLoss(kind="ragan")
    expected = bce(REAL + 0.5, ones) + bce(FAKE - 0.5, zeros)
    torch.testing.assert_close(loss.discriminator(REAL, FAKE), expected)
    expected = bce(REAL + 0.5, zeros) + bce(FAKE - 0.5, ones)
    torch.testing.assert_close(loss.generator(REAL, FAKE), expected)


def test_average_takes_labels():
    loss = RelativisticGANLoss(kind="ragan", real_label_val=0.9)
    soft, zeros = torch.full((3,), 0.9, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(REAL + 0.5, zeros)
    expected = expected + F.binary_cross_entropy_with_logits(FAKE - 0.5, soft)
    torch.testing.assert_close(loss.generator(REAL, FAKE), expected)


def test_least_squares_by_hand():
    loss = RelativisticGANLoss(kind="ralsgan")
    on_real = [(x + 0.5 - 1) ** 2 for x in REAL.tolist()]
    on_fake = [(x - 0.5 + 1) ** 2 for x in FAKE.tolist()]
    expected = (sum(on_real) + sum(on_fake)) / 3
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected)
    on_real = [(x + 0.5 + 1) ** 2 for x in REAL.tolist()]
    on_fake = [(x - 0.5 - 1) ** 2 for x in FAKE.tolist()]
    expected = (sum(on_real) + sum(on_fake)) / 3
    assert loss.generator(REAL, FAKE).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_gradcheck_scales_and_functions(kind, player):
    loss = getattr(RelativisticGANLoss(kind=kind), player)
    real, fake = (x.clone().requires_grad_() for x in (REAL, FAKE))
    assert torch.autograd.gradcheck(loss, (real, fake))
    scales = loss([REAL, REAL * 2], [FAKE, FAKE * 2])
    torch.testing.assert_close(scales, (loss(REAL, FAKE) + loss(REAL * 2, FAKE * 2)) / 2)
    function = getattr(relativistic, f"{kind}_{player}_loss")
    torch.testing.assert_close(function(REAL, FAKE), loss(REAL, FAKE))
    called = RelativisticGANLoss(kind=kind)(REAL, FAKE, is_disc=player == "discriminator")
    torch.testing.assert_close(called, loss(REAL, FAKE))


@pytest.mark.parametrize("kind", ["ragan", "ralsgan"])
def test_unequal_batches(kind):
    assert RelativisticGANLoss(kind=kind).generator(REAL, FAKE[:2]).isfinite()


def test_weight_counts_for_the_generator_only():
    value = torch.tensor(2.0)
    assert RelativisticGANLoss().weigh(value, 0.5, is_disc=True) == 2
    assert RelativisticGANLoss().weigh(value, 0.5, is_disc=False) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: RelativisticGANLoss(kind="ragn"),
            ValueError,
            "kind must be one of .* not 'ragn'; did you mean 'ragan'",
        ),
        (
            lambda: RelativisticGANLoss(kind="rpgan", real_label_val=0.9),
            ValueError,
            "kind='rpgan' has no labels",
        ),
        (
            lambda: RelativisticGANLoss()(REAL, FAKE[:2]),
            ValueError,
            r"paired logits must have one shape, not \(3,\) and \(2,\)",
        ),
        (
            lambda: RelativisticGANLoss()(REAL, "x"),
            TypeError,
            "fake_logits must be a tensor, a list",
        ),
        (
            lambda: RelativisticGANLoss()([REAL], [FAKE, FAKE]),
            ValueError,
            "not 1 in real_logits, 2 in fake_logits",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
