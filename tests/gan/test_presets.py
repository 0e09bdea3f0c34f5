"""Presets: the numbers they cite, that they build, and 200 steps of each on tiny networks."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml
from processes import imported_by
from torch import nn

from losskit.cli import main
from losskit.discovery.presets import preset_config
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError
from losskit_gan import plugin
from losskit_gan.model.customized import GANWithCustomizedLoss, PlainEngine
from losskit_gan.objective import GANObjective
from losskit_gan.presets.sections import preset_losses
from losskit_train.config.training import load_train_config
from losskit_train.networks import DCGANGenerator, StyleGenerator

SPECS = {spec.name: spec for spec in plugin.losskit_presets()}
# What GANWithCustomizedLoss supplies for a preset's terms, with what a batch of its task holds.
SUPPLIED = {
    *("batch_size", "gen", "disc", "disc_pred_fake", "disc_pred_real"),
    *("fake_imgs", "real_imgs", "pred", "target", "mask"),
}
#: Two terms that begin late, which a run of 200 steps would not see.
AT_ONCE = {"dic": {"pixel_init": 0}, "ttsr": {"pixel_init": 0}}
WITH_WEIGHTS = ("esrgan", "real-esrgan", "deblurganv2", "dic", "ttsr", "aot-gan")
UNIT_RANGE = ("esrgan", "real-esrgan")
PRETRAINED = {
    "PerceptualLoss": "losskit_perceptual",
    "TransferalPerceptualLoss": "losskit_perceptual",
    "LightCNNFeatureLoss": "losskit_identity",
}


@pytest.fixture
def narrow_vgg(monkeypatch):
    """VGG-19's sixteen layers at their places, with few channels: the losses are the real ones."""
    if importlib.util.find_spec("losskit_perceptual"):
        vgg = importlib.import_module("losskit_perceptual.networks.vgg")
        monkeypatch.setattr(vgg, "_CHANNELS", (2, 2, 4, 4, 4))


def _losses(name):
    """The preset with seeded weights in its networks, where their plugins are installed."""
    weights = {"weights": "random:200"} if name in WITH_WEIGHTS else {}
    config = preset_losses(name, {**weights, **AT_ONCE.get(name, {})})
    for kind, module in PRETRAINED.items():
        if any(t["type"] == kind for t in _terms(config)) and not importlib.util.find_spec(module):
            pytest.skip(f"{module} is not installed")
    return config


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
    config = preset_losses("stylegan2", given)
    assert config == preset_losses("stylegan2")
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
        ("r3gan", {}, "R1GradientPenalty", 1),
        ("stylegan3", {}, "R1GradientPenalty", 32.8 / 2 * 16),
        ("esrgan", {}, "RelativisticGANLoss", 5e-3),
        ("esrgan", {}, "L1Loss", 1e-2),
        ("real-esrgan", {}, "GANLoss", 0.1),
        ("deblurganv2", {}, "MSELoss", 0.5),
        ("deblurganv2", {}, "AdvLoss", 0.01),
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
    assert preset_losses("biggan") == preset_losses("sngan")


def test_presets_need_no_torch():
    code = (
        "from losskit_gan import plugin; from losskit.discovery.targets import resolve_target\n"
        "[resolve_target(s.target)() for s in plugin.losskit_presets()]"
    )
    assert imported_by(code, "torch") == []


@pytest.mark.parametrize("name", SPECS)
def test_builds_and_is_documented(name, narrow_vgg):
    function = resolve_target(SPECS[name].target)
    assert "References:" in function.__doc__
    assert all(f"{key}:" in function.__doc__ for key in inspect.signature(function).parameters)
    objective = GANObjective(**_losses(name))
    assert objective.disc_objective is not None
    assert objective.gen_objective is not None


@pytest.mark.parametrize("name", SPECS)
def test_the_printed_config_names_the_outputs_that_the_user_supplies(name, capsys):
    config = preset_config(name)[1]
    read = {key for term in _terms(config) for key in term.get("data_info", {}).values()}
    assert main(["presets", name]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    _, _, listed = heading.partition("you supply ")
    assert {key for key in listed.split(", ") if key} == read - SUPPLIED


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("cyclegan", {"cycle_loss_weight": 0.0, "id_loss_weight": 0.0}),
        ("dic", {"align_loss_weight": 0.0}),
        ("ttsr", {"transferal_loss_weight": 0.0}),
    ],
)
def test_weights_of_zero_leave_what_the_trainer_makes_itself(preset, options):
    config = preset_config(preset, options)[1]
    read = {key for term in _terms(config) for key in term.get("data_info", {}).values()}
    assert read <= SUPPLIED


def test_loss_config_changes_a_term_and_a_list_of_terms_replaces_the_preset_s():
    base = {
        "model": {"generator": {"type": "StyleGenerator"}},
        "data": {"images": "x"},
        "preset": "stylegan2",
    }
    shift = {"type": "DiscShiftLoss", "data_info": {"pred": "disc_pred_real"}}
    preset = preset_losses("stylegan2")
    assert load_train_config(base).losses() == preset
    changed = load_train_config({**base, "loss_config": {"r1_loss_weight": 7.0}}).losses()
    (r1,) = preset["disc_auxiliary_loss"]
    assert changed == {**preset, "disc_auxiliary_loss": [{**r1, "loss_weight": 7.0}]}
    replaced = load_train_config({**base, "disc_auxiliary_loss": [shift]}).losses()
    assert replaced == {**preset, "disc_auxiliary_loss": [shift]}
    assert load_train_config({**base, "gen_auxiliary_loss": []}).losses() == {
        **preset,
        "gen_auxiliary_loss": [],
    }


def test_the_training_config_of_the_guide_is_valid():
    guide = Path(__file__).parents[2] / "docs" / "guides" / "gan.md"
    block = re.findall(r"```yaml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)[0]
    (r1,) = load_train_config(yaml.safe_load(block)).losses()["disc_auxiliary_loss"]
    assert r1["loss_weight"] == 8


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(
        ConfigError, match="there is no preset 'stylegan-2'; did you mean 'stylegan2'"
    ):
        preset_config("stylegan-2")
    with pytest.raises(ConfigError, match="no loss_config key 'r1_weight'"):
        preset_config("stylegan2", {"r1_weight": 1})


class _SmallImages(nn.Module):
    """A generator from images."""

    def __init__(self, last):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(6, 3, 3, padding=1),
            last,
        )

    def forward(self, x):
        return self.layers(x)


class _MakesMore(GANWithCustomizedLoss):
    """What a user adds to the model for presets that read more than two networks make."""

    def generator_outputs(self, data, **options):
        outputs = super().generator_outputs(data, **options)
        real, pred = outputs["real_imgs"], outputs["pred"]
        halves = [nn.functional.avg_pool2d(pred, 2**level) for level in (2, 1, 0)]
        more = {
            "heatmaps": lambda: pred.mean(1),
            "target_heatmaps": lambda: real.mean(1),
            "maps": lambda: halves,
            "soft_attention": lambda: torch.rand_like(halves[0][:, :1]),
            "textures": lambda: [nn.functional.avg_pool2d(real, 2**level) for level in (2, 1, 0)],
        }
        for side in ("a", "b"):
            more[f"real_{side}"] = lambda: real
            more[f"id_{side}"] = lambda: self.generator(real)
            more[f"rec_{side}"] = lambda: self.generator(pred)
        needed = {
            key for key in more if self.objective.needs("generator", key, outputs["iteration"])
        }
        return outputs | {key: more[key]() for key in needed}


class _HalfPrecision(PlainEngine):
    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16)


def _training(preset, player):
    """The options of Adam that the preset publishes for a player."""
    published = preset_config(preset)[1]["optimizer"]
    own = {**published, **published.get(player, {})}
    assert own["type"] == "Adam"
    return {"lr": own["lr"], "betas": tuple(own["betas"])}


def _model(preset):
    losses = _losses(preset)
    discriminator = nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3, padding=1)
    )
    small = {"image_size": 8, "latent_dim": 4, "channels": 4, "max_channels": 4}
    module = SPECS[preset].target.split(":")[0]
    if module.endswith("unconditional"):
        style = preset.startswith("stylegan")
        generator = StyleGenerator(mapping_layers=1, **small) if style else DCGANGenerator(**small)
        return _MakesMore(generator, discriminator, **losses)
    compose = module.endswith("inpainting")
    generator = _SmallImages(nn.Sigmoid() if preset in UNIT_RANGE else nn.Tanh())
    return _MakesMore(generator, discriminator, **losses, inputs=["lq"], compose=compose)


@pytest.mark.parametrize("preset", ["dic", "ttsr"])
def test_all_but_the_image_losses_begin_after_pixel_init(preset, narrow_vgg, monkeypatch):
    monkeypatch.setitem(AT_ONCE, preset, {"pixel_init": 2})
    torch.manual_seed(0)
    model = _model(preset)
    optimizers = {
        name: torch.optim.Adam(getattr(model, name).parameters(), 2e-3)
        for name in ("discriminator", "generator")
    }
    real = torch.rand(2, 3, 16, 16) * 2 - 1
    logged, moved = [], []
    for _ in range(4):
        before = nn.utils.parameters_to_vector(model.discriminator.parameters())
        logs = model.train_step({"real_imgs": real, "lq": real}, optimizers)
        logged.append(set(logs))
        after = nn.utils.parameters_to_vector(model.discriminator.parameters())
        moved.append(not torch.equal(before, after))
    assert moved == [False, False, True, True]
    image_losses = {"dic": {"loss_l1", "loss_align"}, "ttsr": {"loss_l1"}}[preset]
    assert logged[0] == logged[1] == {*image_losses, "total_gen"}
    assert logged[2] == logged[3]
    assert len(logged[2]) >= len(image_losses) + 6  # both players' and at least one late term
    assert {"loss_gen", "loss_disc_fake", "loss_disc_real"} < logged[2]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", SPECS)
def test_200_steps_stay_finite(preset, precision, narrow_vgg):
    torch.manual_seed(0)
    # on_nonfinite="raise" is the default: every term of every step is checked.
    model = _model(preset)
    model.discriminator_steps = preset_config(preset)[1]["discriminator_steps"]
    players = {"discriminator": model.discriminator, "generator": model.generator}
    before = {
        name: nn.utils.parameters_to_vector(net.parameters()) for name, net in players.items()
    }
    training = {name: _training(preset, name) for name in players}
    optimizers = {
        name: torch.optim.Adam(net.parameters(), **training[name], fused=True)
        for name, net in players.items()
    }
    engine = _HalfPrecision() if precision == "bf16" else PlainEngine()
    size = 16 if preset in WITH_WEIGHTS else 8  # VGG-19 halves its images four times
    mask = torch.zeros(2, 1, size, size)
    mask[:, :, 2:6, 1:5] = 1
    for _ in range(200):
        real = torch.rand(2, 3, size, size)
        real = real if preset in UNIT_RANGE else real * 2 - 1
        batch = {"real_imgs": real, "mask": mask, "lq": real * (1 - mask)}
        model.train_step(batch, optimizers, engine=engine)
    assert model.iteration == 200
    for name, net in players.items():
        after = nn.utils.parameters_to_vector(net.parameters())
        assert after.isfinite().all()
        assert (after - before[name]).abs().max() > 10 * training[name]["lr"]
