"""Every number a preset prints has a source, and what is printed is a training config."""

from __future__ import annotations

import importlib.util
import json

import pytest
import yaml

from losskit.cli import main
from losskit.discovery.presets import preset_config
from losskit_gan import plugin
from losskit_gan.objective import GANObjective
from losskit_train.config.training import load_train_config

NAMES = [spec.name for spec in plugin.losskit_presets()]
WITH_WEIGHTS = ("esrgan", "real-esrgan", "deblurganv2", "dic", "ttsr", "aot-gan")
REST = {
    "model": {
        "generator": {"type": "DCGANGenerator"},
        "discriminator": {"type": "PatchDiscriminator"},
    },
    "data": {"images": "x"},
}
# Read off the authors' files or MMagic's configs that the presets name: discriminator steps, the
# generator's and the discriminator's learning rate, betas.
TRAINING = {
    "dcgan": (1, 2e-4, 2e-4, (0.5, 0.999)),
    "lsgan": (1, 1e-3, 1e-3, (0.5, 0.999)),
    "wgan-gp": (5, 1e-4, 1e-4, (0.0, 0.9)),
    "pggan": (1, 1e-3, 1e-3, (0.0, 0.99)),
    "sngan": (5, 2e-4, 2e-4, (0.0, 0.9)),
    "biggan": (1, 1e-4, 4e-4, (0.0, 0.999)),
    "stylegan2": (1, 2e-3, 2e-3, (0.0, 0.99)),
    "stylegan3": (1, 2.5e-3, 2e-3, (0.0, 0.99)),
    "r3gan": (1, 2e-4, 2e-4, (0.0, 0.9)),
    "pix2pix": (1, 2e-4, 2e-4, (0.5, 0.999)),
    "cyclegan": (1, 2e-4, 2e-4, (0.5, 0.999)),
    "esrgan": (1, 1e-4, 1e-4, (0.9, 0.99)),
    "real-esrgan": (1, 1e-4, 1e-4, (0.9, 0.99)),
    "deblurganv2": (1, 1e-4, 1e-4, (0.9, 0.999)),
    "dic": (2, 1e-4, 1e-5, (0.9, 0.999)),
    "ttsr": (2, 1e-4, 1e-5, (0.9, 0.999)),
    "deepfillv1": (5, 1e-4, 1e-4, (0.9, 0.999)),
    "deepfillv2": (1, 1e-4, 1e-4, (0.5, 0.999)),
    "aot-gan": (1, 1e-4, 1e-4, (0.0, 0.9)),
}


def _printed(capsys, *arguments):
    assert main(["presets", *arguments]) == 0
    return capsys.readouterr().out


def _has_number(value):
    if isinstance(value, dict):
        return any(_has_number(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_has_number(inner) for inner in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(config):
    """The names of all numbers outside ``sources``, found by another way than the library's."""
    names = set()
    for term in [*config["disc_auxiliary_loss"], *config["gen_auxiliary_loss"]]:
        label = term.get("loss_name") or term["type"]
        names |= {f"{label}.{key}" for key in term if _has_number(term[key])}
    names |= {f"gan_loss.{key}" for key, value in config["gan_loss"].items() if _has_number(value)}
    rest = {k: v for k, v in config.items() if not k.endswith("_loss") and k != "sources"}
    optimizer = rest.pop("optimizer")
    for key, value in optimizer.items():
        if isinstance(value, dict):
            names |= {f"optimizer.{key}.{own}" for own in value}
        elif _has_number(value):
            names.add(f"optimizer.{key}")
    return names | {key for key in rest if _has_number(rest[key])}


@pytest.mark.parametrize("name", NAMES)
def test_every_printed_number_has_one_source(capsys, name):
    printed = yaml.safe_load(_printed(capsys, name))
    sources = printed["sources"]
    named = [number for source in sources for number in source["numbers"]]
    assert sorted(named) == sorted(_numbers(printed))
    for source in sources:
        assert len(source["from"]) > 10
        assert source["checked"] in ("first hand", "in a copy", "second hand", "no")
        assert set(source) <= {"numbers", "from", "checked", "note"}
    as_json = json.loads(_printed(capsys, name, "--json"))
    assert as_json["config"] == printed == preset_config(name)[1]


def test_no_source_names_what_no_preset_has():
    for spec in plugin.losskit_presets():
        module, _, function = spec.target.partition(":")
        build = getattr(importlib.import_module(module), function)
        closure = dict(zip(build.__code__.co_freevars, build.__closure__, strict=True))
        present = {number for s in build()["sources"] for number in s["numbers"]}
        for source in closure["sources"].cell_contents:
            for wanted in source.numbers.split():
                assert any(n == wanted or n.startswith(f"{wanted}.") for n in present), wanted


def test_what_loss_config_changed_is_from_there(capsys):
    changed = yaml.safe_load(
        _printed(capsys, "stylegan2", "r1_loss_weight=8", "r1_interval=4", "g_reg_weight=0")
    )
    by_place = {source["from"]: source for source in changed["sources"]}
    assert by_place["loss_config"] == {
        "numbers": ["R1GradientPenalty.loss_weight", "R1GradientPenalty.interval"],
        "from": "loss_config",
    }
    named = [number for source in changed["sources"] for number in source["numbers"]]
    assert sorted(named) == sorted(_numbers(changed))
    assert "loss_config" not in str(preset_config("stylegan2", {"r1_interval": 16})[1]["sources"])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_a_training_config_and_builds(capsys, monkeypatch, name):
    if importlib.util.find_spec("losskit_perceptual"):
        vgg = importlib.import_module("losskit_perceptual.networks.vgg")
        monkeypatch.setattr(vgg, "_CHANNELS", (2, 2, 4, 4, 4))
    options = ["weights=random:200"] if name in WITH_WEIGHTS else []
    printed = yaml.safe_load(_printed(capsys, name, *options))
    config = load_train_config({**REST, **printed})
    steps, generator, discriminator, betas = TRAINING[name]
    assert config.discriminator_steps == steps
    for player, rate in (("generator", generator), ("discriminator", discriminator)):
        values = config.optimizer.of(player)
        assert (values["type"], values["lr"], values["betas"]) == ("Adam", rate, betas)
    kinds = {t["type"] for t in [*printed["gen_auxiliary_loss"], *printed["disc_auxiliary_loss"]]}
    needed = {"LightCNNFeatureLoss": "losskit_identity"}
    needed |= dict.fromkeys(("PerceptualLoss", "TransferalPerceptualLoss"), "losskit_perceptual")
    for kind in kinds & set(needed):
        pytest.importorskip(needed[kind])
    assert GANObjective(**config.losses()).disc_objective is not None
