"""Both players' objectives against what the guide's own loop computes."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import losskit
from losskit.errors import ConfigError, MissingOutputError, NonFiniteError
from losskit_gan.objective import GANObjective


@losskit.register(name="HingeForTest")
class HingeForTest(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, input, target_is_real, is_disc=False):
        if is_disc:
            return self.scale * F.relu(1 - input if target_is_real else 1 + input).mean()
        return -self.scale * input.mean()


@losskit.register(name="PairedForTest")
class PairedForTest(nn.Module):
    def discriminator(self, real_logits, fake_logits):
        return F.softplus(fake_logits - real_logits).mean()

    def generator(self, real_logits, fake_logits):
        return F.softplus(real_logits - fake_logits).mean()

    def forward(self, real_logits, fake_logits):
        return self.discriminator(real_logits, fake_logits)


@losskit.register(name="AdvForTest")
class AdvForTest(nn.Module):
    def forward(self, net, fake, real, model="discriminator"):
        value = net(fake).mean()
        return value - net(real).mean() if model == "discriminator" else -value


@losskit.register(name="SquareForTest")
def square_for_test(pred):
    return (pred**2).mean()


@losskit.register(name="GuideStyle")
class GuideStyle(nn.Module):
    """The guide's own kind of class: parses data_info itself, names itself, skips steps."""

    def __init__(self, loss_weight=1.0, data_info=None, interval=1):
        super().__init__()
        self.loss_weight, self.data_info, self.interval = loss_weight, data_info, interval

    def forward(self, *args, **kwargs):
        assert len(args) == 1
        assert isinstance(args[0], dict)
        if args[0]["iteration"] % self.interval:
            return None
        inputs = {k: args[0][v] for k, v in self.data_info.items()}
        return self.loss_weight * (inputs["pred"] ** 2).mean()

    @staticmethod
    def loss_name():
        return "loss_guide"


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    fake, real = torch.randn(4, 1, generator=generator), torch.randn(4, 1, generator=generator)
    return {"disc_pred_fake": fake, "disc_pred_real": real, "iteration": 0}


def test_names_and_values_are_the_guides(outputs):
    objective = GANObjective({"type": "HingeForTest", "loss_weight": 0.1})
    disc, gen = objective.discriminator(outputs), objective.generator(outputs)
    fake, real = outputs["disc_pred_fake"], outputs["disc_pred_real"]
    assert list(disc.logs) == ["loss_disc_fake", "loss_disc_real"]
    assert list(gen.logs) == ["loss_gen"]
    # The weight is the generator's alone.
    torch.testing.assert_close(disc.total, F.relu(1 + fake).mean() + F.relu(1 - real).mean())
    torch.testing.assert_close(gen.total, -0.1 * fake.mean())


def test_auxiliary_values_of_one_name_add_up(outputs):
    shift = {"type": "SquareForTest", "loss_weight": 0.5, "loss_name": "loss_shift"}
    objective = GANObjective(
        {"type": "HingeForTest"},
        [
            {**shift, "data_info": {"pred": "disc_pred_real"}},
            {**shift, "data_info": {"pred": "disc_pred_fake"}},
        ],
    )
    logs = objective.discriminator(outputs).logs
    expected = 0.5 * (
        (outputs["disc_pred_real"] ** 2).mean() + (outputs["disc_pred_fake"] ** 2).mean()
    )
    torch.testing.assert_close(logs["loss_shift"], expected)


def test_the_guides_own_class_routes_itself_and_may_skip(outputs):
    config = {
        "type": "GuideStyle",
        "loss_weight": 3.0,
        "interval": 2,
        "data_info": {"pred": "disc_pred_real"},
    }
    objective = GANObjective({"type": "HingeForTest"}, config)
    assert objective.needs("discriminator", "disc_pred_real")
    value = objective.discriminator(outputs).logs["loss_guide"]
    torch.testing.assert_close(value, 3 * (outputs["disc_pred_real"] ** 2).mean())
    assert "loss_guide" not in objective.discriminator({**outputs, "iteration": 1}).logs


def test_a_relativistic_loss_serves_both_players(outputs):
    objective = GANObjective({"type": "PairedForTest", "loss_weight": 2.0})
    difference = outputs["disc_pred_fake"] - outputs["disc_pred_real"]
    disc, gen = objective.discriminator(outputs), objective.generator(outputs)
    assert (list(disc.logs), list(gen.logs)) == (["loss_disc"], ["loss_gen"])
    torch.testing.assert_close(disc.total, F.softplus(difference).mean())
    torch.testing.assert_close(gen.total, 2 * F.softplus(-difference).mean())
    assert objective.needs("generator", "disc_pred_real")
    assert not GANObjective({"type": "HingeForTest"}).needs("generator", "disc_pred_real")


def test_a_loss_over_the_discriminator_itself(outputs):
    net = nn.Flatten()
    outputs |= {"disc": net, "fake_imgs": torch.ones(2, 3), "real_imgs": torch.full((2, 3), 4.0)}
    objective = GANObjective({"type": "AdvForTest"})
    assert objective.discriminator(outputs).total == 1 - 4
    assert objective.generator(outputs).total == -1


def test_several_gan_losses_stay_apart_by_name(outputs):
    objective = GANObjective(
        [{"type": "HingeForTest"}, {"type": "HingeForTest", "loss_name": "loss_patch"}]
    )
    assert set(objective.discriminator(outputs).logs) == {
        "loss_disc_fake",
        "loss_disc_real",
        "loss_patch_disc_fake",
        "loss_patch_disc_real",
    }
    assert set(objective.generator(outputs).logs) == {"loss_gen", "loss_patch_gen"}
    twice = GANObjective([{"type": "HingeForTest"}, {"type": "HingeForTest"}])
    once = GANObjective({"type": "HingeForTest"})
    torch.testing.assert_close(
        twice.generator(outputs).logs["loss_gen"], 2 * once.generator(outputs).total
    )


def test_a_gan_loss_may_start_late(outputs):
    objective = GANObjective({"type": "HingeForTest", "start": 5})
    assert objective.generator(outputs).logs == {}
    assert "loss_gen" in objective.generator({**outputs, "iteration": 5}).logs


def test_only_the_auxiliary_terms(outputs):
    objective = GANObjective(
        None, gen_auxiliary_loss={"type": "SquareForTest", "data_info": {"pred": "disc_pred_fake"}}
    )
    assert objective.generator(outputs).total > 0
    with pytest.raises(ConfigError, match="no term for the discriminator"):
        objective.discriminator(outputs)


def test_state_copies_and_pickles(outputs):
    objective = GANObjective(
        {"type": "HingeForTest", "scale": 3.0},
        {"type": "SquareForTest", "data_info": {"pred": "disc_pred_real"}},
    )
    clone = GANObjective(
        {"type": "HingeForTest", "scale": 1.0},
        {"type": "SquareForTest", "data_info": {"pred": "disc_pred_real"}},
    )
    clone.load_state_dict(objective.state_dict())
    for other in (clone, copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))):
        torch.testing.assert_close(
            other.discriminator(outputs).total, objective.discriminator(outputs).total
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "at least one term"),
        (("HingeForTest",), "gan_loss must be a term's config"),
        (([{"type": "HingeForTest", "scal": 1}],), r"gan_loss\[0\].*did you mean 'scale'"),
        (({"type": "L1Loss"},), "L1Loss is no gan_loss"),
        (({"type": "HingeForTest"}, {"type": "Nope"}), "disc_auxiliary_loss: no loss is called"),
        (({"type": "HingeForTest", "data_info": {"msk": "mask"}},), "names 'msk'"),
    ],
)
def test_a_wrong_config_says_where(arguments, message):
    with pytest.raises(ConfigError, match=message):
        GANObjective(*arguments)


def test_wrong_outputs(outputs):
    objective = GANObjective({"type": "HingeForTest"})
    with pytest.raises(MissingOutputError, match="disc_pred_real"):
        objective.discriminator({"disc_pred_fake": outputs["disc_pred_fake"]})
    with pytest.raises(NonFiniteError, match="loss_disc_real"):
        objective.discriminator({**outputs, "disc_pred_real": torch.full((4, 1), float("nan"))})
    with pytest.raises(ValueError, match="player must be"):
        objective(outputs, player="critic")


@losskit.register(name="ImportingForTest")
class ImportingForTest(nn.Module):
    def __init__(self, allow_import=False):
        super().__init__()
        self.allowed = allow_import

    def forward(self, pred):
        return pred.mean()


@pytest.mark.parametrize("allow", [False, True])
def test_leave_to_import_reaches_every_loss(allow):
    term = {"type": "ImportingForTest", "data_info": {"pred": "x"}}
    objective = GANObjective(None, term, [term], allow_import=allow)
    losses = [m for m in objective.modules() if isinstance(m, ImportingForTest)]
    assert [loss.allowed for loss in losses] == [allow, allow]
    with pytest.raises(ConfigError, match="cannot give itself leave"):
        GANObjective(None, {**term, "allow_import": True}, allow_import=True)


def test_what_an_iteration_needs_and_what_it_differentiates():
    path = {"fake_imgs": "fake_imgs", "latents": "latents"}
    objective = GANObjective(
        {"type": "PairedForTest"},
        gen_auxiliary_loss=[
            {"type": "GeneratorPathRegularizer", "interval": 4, "data_info": path},
            {"type": "SquareForTest", "start": 2, "data_info": {"pred": "lq"}},
        ],
    )
    assert objective.needs("generator", "disc_pred_real", 1)
    assert [objective.needs("generator", "lq", step) for step in range(4)] == [0, 0, 1, 1]
    assert [objective.differentiates("generator", step) for step in range(5)] == [1, 0, 0, 0, 1]
    assert not objective.differentiates("discriminator", 0)
    codes = {
        "type": "GeneratorPathRegularizer",
        "data_info": {"fake_imgs": "fake_imgs", "latents": "codes"},
    }
    assert GANObjective(None, gen_auxiliary_loss=codes).differentiates("generator", 0)
    adaptive = {"adaptive": {"reference": "loss_l1", "wrt": "pred"}}
    objective = GANObjective(
        {"type": "HingeForTest", "loss_weight": adaptive}, gen_auxiliary_loss={"type": "L1Loss"}
    )
    assert objective.differentiates("generator", 0)
