"""Presets: the numbers they cite, that they build, and 200 steps of each on tiny networks."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

import losskit
from losskit.errors import ConfigError
from losskit.registry import preset_config
from losskit.spec import resolve_target
from losskit_gan import plugin
from losskit_gan.networks import StyleGenerator
from losskit_gan.objective import GANObjective

SPECS = {spec.name: spec for spec in plugin.losskit_presets()}
PRETRAINED = {"PerceptualLoss": "losskit_perceptual", "LightCNNFeatureLoss": "losskit_identity"}


def _terms(config):
    return [config["gan_loss"], *config["disc_auxiliary_loss"], *config["gen_auxiliary_loss"]]


def test_the_guide_s_stylegan2_keys():
    # The guide's own example, with its intervals of 16 and 4.
    d_reg_interval, g_reg_interval = 16, 4
    given = {
        "r1_loss_weight": 10.0 / 2.0 * d_reg_interval,
        "r1_interval": d_reg_interval,
        "norm_mode": "HWC",
        "g_reg_interval": g_reg_interval,
        "g_reg_weight": 2.0 * g_reg_interval,
        "pl_batch_shrink": 2,
    }
    config = preset_config("stylegan2", given)[1]
    assert config == preset_config("stylegan2")[1]
    (r1,), (path,) = config["disc_auxiliary_loss"], config["gen_auxiliary_loss"]
    assert (r1["type"], r1["loss_weight"], r1["interval"]) == ("R1GradientPenalty", 80, 16)
    assert (path["type"], path["loss_weight"], path["interval"]) == (
        "GeneratorPathRegularizer",
        8,
        4,
    )
    assert path["pl_batch_shrink"] == 2


@pytest.mark.parametrize(
    ("preset", "options", "kind", "weight"),
    [
        ("wgan-gp", {"gp_norm_mode": "pixel", "gp_loss_weight": 3.0}, "GradientPenaltyLoss", 3),
        ("pix2pix", {}, "L1Loss", 100),
        ("pix2pix", {"pixel_loss_weight": 7.0}, "L1Loss", 7),
        ("cyclegan", {"id_loss_weight": 0.0, "cycle_loss_weight": 2.0}, "L1Loss", 2),
        ("pggan", {}, "DiscShiftLoss", 0.0005),
        ("r3gan", {"gamma": 6.0}, "R2GradientPenalty", 3),
        ("deepfillv1", {}, "GANLoss", 1e-4),
        ("deepfillv2", {}, "GANLoss", 0.1),
        ("aot-gan", {}, "GANLoss", 0.01),
        ("dic", {}, "LightCNNFeatureLoss", 0.1),
        ("ttsr", {}, "TransferalPerceptualLoss", 1e-2),
    ],
)
def test_published_weights_and_options(preset, options, kind, weight):
    config = preset_config(preset, options)[1]
    found = {term["loss_weight"] for term in _terms(config) if term["type"] == kind}
    assert found == {weight}


def test_biggan_and_sngan_share_their_losses():
    assert preset_config("biggan")[1] == preset_config("sngan")[1]


def test_presets_need_no_torch():
    code = (
        "import sys; from losskit_gan import plugin; from losskit.spec import resolve_target\n"
        "[resolve_target(s.target)() for s in plugin.losskit_presets()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", SPECS)
def test_builds_and_is_documented(name):
    function = resolve_target(SPECS[name].target)
    assert "References:" in function.__doc__
    assert all(f"{key}:" in function.__doc__ for key in inspect.signature(function).parameters)
    config = function()
    for kind, module in PRETRAINED.items():
        if any(t["type"] == kind for t in _terms(config)) and not importlib.util.find_spec(module):
            pytest.skip(f"{module} is not installed")
    options = {"weights": "random"} if "weights" in inspect.signature(function).parameters else {}
    objective = GANObjective(**function(**options))
    assert objective.disc_objective is not None
    assert objective.gen_objective is not None


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(
        ConfigError, match="there is no preset 'stylegan-2'; did you mean 'stylegan2'"
    ):
        preset_config("stylegan-2")
    with pytest.raises(ConfigError, match="no loss_config key 'r1_weight'"):
        preset_config("stylegan2", {"r1_weight": 1})


class FeaturesStandIn(nn.Module):
    """A stand-in for PerceptualLoss and LightCNNFeatureLoss: two layers instead of sixteen."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.net.requires_grad_(False)

    def forward(self, pred, target):
        return (self.net(pred) - self.net(target.detach())).abs().mean()


def _tiny(config):
    """The preset with stand-ins for what needs a pretrained network."""
    for term in config["gen_auxiliary_loss"]:
        if term["type"] in PRETRAINED:
            weight = term.get("loss_weight", term.get("perceptual_weight"))
            data_info = term["data_info"]
            term.clear()
            term.update(type="local/FeaturesStandIn", loss_weight=weight, data_info=data_info)
        if term["type"] == "TransferalPerceptualLoss":
            del term["use_attention"], term["criterion"]
            term.update(
                type="local/FeaturesStandIn", data_info={"pred": "maps", "target": "textures"}
            )
    return config


class _Net(nn.Module):
    """A generator from images, or from noise shaped like them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(6, 3, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.layers(x)


def _outputs(preset, generator, discriminator, real, iteration, training):
    noise, mask = torch.randn_like(real), torch.zeros_like(real[:, :1])
    mask[:, :, 2:6, 1:5] = 1
    with torch.set_grad_enabled(training == "generator"):
        if preset == "stylegan2":
            pred = generator(None, num_batches=len(real))
        else:
            pred = generator(
                real * (1 - mask) if "deepfill" in preset or "aot" in preset else noise
            )
    fake = (
        pred * mask + real * (1 - mask)
        if preset in ("deepfillv1", "deepfillv2", "aot-gan")
        else pred
    )
    outputs = {
        "iteration": iteration,
        "batch_size": len(real),
        "gen": generator,
        "disc": discriminator,
        "pred": pred,
        "fake_imgs": fake,
        "real_imgs": real,
        "target": real,
        "mask": mask,
        "disc_pred_fake": discriminator(fake),
    }
    if training == "discriminator" or preset in ("r3gan", "esrgan"):
        outputs["disc_pred_real"] = discriminator(real)
    if preset == "cyclegan":
        for side in ("a", "b"):
            outputs |= {f"real_{side}": real, f"id_{side}": generator(real)}
            outputs[f"rec_{side}"] = generator(pred)
    if preset == "dic":
        outputs |= {"heatmaps": pred.mean(1), "target_heatmaps": real.mean(1)}
    if preset == "ttsr":
        outputs |= {"maps": pred, "textures": real}
    return outputs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", [name for name in SPECS if name != "biggan"])  # is sngan's
def test_200_steps_stay_finite(preset, precision, monkeypatch):
    monkeypatch.setattr("losskit.registry._LOCAL", {})
    losskit.register(FeaturesStandIn)
    torch.manual_seed(0)
    style = {"image_size": 8, "latent_dim": 4, "channels": 4, "max_channels": 4}
    generator = StyleGenerator(mapping_layers=1, **style) if preset == "stylegan2" else _Net()
    discriminator = nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3, padding=1)
    )
    # on_nonfinite="raise" is the default: every term of every step is checked.
    objective = GANObjective(**_tiny(preset_config(preset)[1]))
    players = {"discriminator": discriminator, "generator": generator}
    before = {
        name: torch.cat([p.flatten() for p in net.parameters()]) for name, net in players.items()
    }
    optimizers = {
        name: torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.99), fused=True)
        for name, net in players.items()
    }
    for step in range(200):
        real = torch.rand(2, 3, 8, 8) * 2 - 1
        for name, net in players.items():
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                outputs = _outputs(preset, generator, discriminator, real, step, name)
                total = objective(outputs, player=name).total
            optimizers[name].zero_grad()
            total.backward(inputs=list(net.parameters()))
            optimizers[name].step()
    for name, net in players.items():
        after = torch.cat([p.flatten() for p in net.parameters()])
        assert after.isfinite().all()
        assert (after - before[name]).abs().max() > 1e-3
