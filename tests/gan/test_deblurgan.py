"""AdvLoss against its definition, written out with a deque of past predictions."""

from __future__ import annotations

import copy
from collections import deque

import pytest
import torch
from torch import nn

import losskit
from losskit_gan.deblurgan import LOSS_TYPES, AdvLoss, PredictionPool
from losskit_gan.objective import GANObjective

bce = nn.functional.binary_cross_entropy_with_logits


def _net():
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3)


def _images(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 1, 6, 6, generator=generator), torch.randn(
        8, 1, 6, 6, generator=generator
    )


def test_plain_ones_by_hand():
    net, (fake, real) = _net(), _images(0)
    on_fake, on_real = net(fake), net(real)
    ones, zeros = torch.ones_like(on_fake), torch.zeros_like(on_fake)
    expected = {
        ("gan", "discriminator"): (bce(on_fake, zeros) + bce(on_real, ones)) / 2,
        ("gan", "generator"): bce(on_fake, ones),
        ("lsgan", "discriminator"): (on_fake.abs().mean() + (on_real - 1).abs().mean()) / 2,
        ("lsgan", "generator"): (on_fake - 1).abs().mean(),
        ("wgan-gp", "generator"): -on_fake.mean(),
    }
    for (kind, player), value in expected.items():
        torch.testing.assert_close(AdvLoss(kind)(net, fake, real, model=player), value)


def test_wgan_gp_of_a_linear_net_by_hand():
    _, (fake, real) = _net(), _images(0)
    value = AdvLoss("wgan-gp")(lambda x: 3 * x, fake, real)  # slope 3 at every pixel
    expected = 3 * (fake.mean() - real.mean()) + 10 * (3 - 1) ** 2
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("kind", ["ragan", "ragan-ls"])
def test_relativistic_ones_compare_with_the_last_fifty(kind):
    net, loss = _net(), AdvLoss(kind)
    fakes, reals = deque(maxlen=50), deque(maxlen=50)
    for seed in range(9):  # 72 predictions: the pools overflow
        fake, real = _images(seed)
        value = loss(net, fake, real)
        on_fake, on_real = net(fake), net(real)
        fakes.extend(on_fake.detach())
        reals.extend(on_real.detach())
        above = on_real - torch.stack(list(fakes)).mean()
        below = on_fake - torch.stack(list(reals)).mean()
        ones, zeros = torch.ones_like(above), torch.zeros_like(above)
        if kind == "ragan":
            expected = (bce(above, ones) + bce(below, zeros)) / 2
            for_generator = (bce(above, zeros) + bce(below, ones)) / 2
        else:
            expected = ((above - 1).square().mean() + (below + 1).square().mean()) / 2
            for_generator = ((above + 1).square().mean() + (below - 1).square().mean()) / 2
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(loss(net, fake, real, model="generator"), for_generator)
    assert loss.fake_pool.count == 50


def test_pool_is_state_and_rests_in_evaluation():
    net, loss, (fake, real) = _net(), AdvLoss("ragan"), _images(0)
    loss(net, fake, real)
    state = loss.state_dict()
    loss.eval()(net, fake, real)
    torch.testing.assert_close(loss.state_dict(), state)
    other = AdvLoss("ragan")
    other.load_state_dict(state)
    expected = loss(net, fake, real, model="generator")
    torch.testing.assert_close(other(net, fake, real, model="generator"), expected)
    torch.testing.assert_close(copy.deepcopy(loss)(net, fake, real, model="generator"), expected)


def test_generator_before_any_discriminator_step():
    net, (fake, real) = _net(), _images(0)
    value = AdvLoss("ragan")(net, fake, real, model="generator")
    above, below = net(real) - net(fake).mean().detach(), net(fake) - net(real).mean().detach()
    expected = (bce(above, torch.zeros_like(above)) + bce(below, torch.ones_like(below))) / 2
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("kind", "discriminator", "generator"),
    [("gan", 2, 1), ("lsgan", 2, 1), ("wgan-gp", 3, 1), ("ragan", 2, 2), ("ragan-ls", 2, 2)],
)
def test_no_pass_too_many_and_known_logits_save_them(kind, discriminator, generator):
    net, (fake, real) = _net(), _images(0)
    passes = []
    net.register_forward_hook(lambda _, __, output: passes.append(output.requires_grad))
    losses = AdvLoss(kind), AdvLoss(kind)
    for model, expected in (("discriminator", discriminator), ("generator", generator)):
        passes.clear()
        torch.manual_seed(0)
        value = losses[0](net, fake, real, model)
        assert len(passes) == expected
        if model == "generator":
            assert passes == [True, False][:expected]  # none through the real images
        known = {"fake_logits": net(fake), "real_logits": net(real)}
        passes.clear()
        torch.manual_seed(0)
        torch.testing.assert_close(losses[1](net, fake, real, model, **known), value)
        assert len(passes) == (kind == "wgan-gp" and model == "discriminator")  # the penalty's


def test_weight_of_a_term_and_of_a_gan_loss():
    net, (fake, real) = _net(), _images(0)
    config = {"type": "AdvLoss", "loss_type": "gan", "loss_weight": 0.25}
    bare = {
        player: AdvLoss("gan")(net, fake, real, player) for player in ("discriminator", "generator")
    }
    for player, value in bare.items():
        torch.testing.assert_close(losskit.build(config)(net, fake, real, player), 0.25 * value)
    passes = []
    net.register_forward_hook(lambda *_: passes.append(1))
    logits = {"disc_pred_fake": net(fake), "disc_pred_real": net(real)}
    outputs = {"disc": net, "fake_imgs": fake, "real_imgs": real, **logits}
    passes.clear()
    objective = GANObjective(config)
    torch.testing.assert_close(objective.discriminator(outputs).total, bare["discriminator"])
    torch.testing.assert_close(objective.generator(outputs).total, 0.25 * bare["generator"])
    assert not passes  # the logits were there
    assert not objective.needs("generator", "disc_pred_real")


@pytest.mark.parametrize("kind", LOSS_TYPES)
def test_gradients_reach_the_player_alone(kind):
    net, (fake, real) = _net(), _images(0)
    fake.requires_grad_()
    loss = AdvLoss(kind)
    loss(net, fake, real).backward()
    assert fake.grad is None
    assert net.weight.grad.norm() > 0
    loss(net, fake, real, model="generator").backward()
    assert fake.grad.norm() > 0


def test_a_batch_larger_than_the_pool():
    pool = PredictionPool(3)
    pool.add(torch.arange(5.0)[:, None])
    assert pool.mean(torch.zeros(1)) == 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: AdvLoss("ragan-sl"),
            ValueError,
            "loss_type must be one of .* not 'ragan-sl'; did you mean 'ragan-ls'",
        ),
        (
            lambda: AdvLoss("gan")(_net(), *_images(0), model="disc"),
            ValueError,
            "model must be 'discriminator' or 'generator', not 'disc'",
        ),
        (lambda: AdvLoss("gan")(_net(), None, _images(0)[0]), TypeError, "fake must be a tensor"),
        (lambda: AdvLoss("gan")(_net(), _images(0)[0], None), TypeError, "real must be a tensor"),
        (
            lambda: AdvLoss("ragan")(lambda x: [x, x], *_images(0)),
            ValueError,
            "net must return one tensor of logits, not 2 scales",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
