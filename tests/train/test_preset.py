"""What a preset says of training counts where the config says nothing."""

from __future__ import annotations

import pytest

from losskit.errors import ConfigError
from losskit_train.config.training import as_mapping, load_train_config
from losskit_train.run.loop import Trainer

SMALL = {
    "generator": {"type": "DCGANGenerator", "image_size": 8, "latent_dim": 4, "channels": 4},
    "discriminator": {"type": "ResidualDiscriminator", "image_size": 8, "channels": 4},
}


def load(preset="wgan-gp", overrides=(), **changes):
    base = {"model": SMALL, "data": {"images": "builtin:faces"}, "preset": preset}
    return load_train_config({**base, **changes}, overrides)


def values(config, player="generator"):
    own = config.optimizer.of(player)
    return own["type"], own["lr"], own["betas"]


def test_a_preset_s_steps_and_optimiser_count():
    config = load()
    assert config.discriminator_steps == 5
    assert values(config) == values(config, "discriminator") == ("Adam", 1e-4, (0.0, 0.9))
    biggan = load("biggan")
    assert [values(biggan, p)[1] for p in ("generator", "discriminator")] == [1e-4, 4e-4]
    assert load(None).discriminator_steps == 1
    assert values(load(None)) == ("Adam", 2e-4, (0.5, 0.999))


@pytest.mark.parametrize(
    ("changes", "generator", "discriminator"),
    [
        ({"lr": 3e-4}, ("Adam", 3e-4, (0.0, 0.999)), ("Adam", 3e-4, (0.0, 0.999))),
        ({"betas": [0.5, 0.9]}, ("Adam", 1e-4, (0.5, 0.9)), ("Adam", 4e-4, (0.5, 0.9))),
        (
            {"generator": {"lr": 7e-4}},
            ("Adam", 7e-4, (0.0, 0.999)),
            ("Adam", 4e-4, (0.0, 0.999)),
        ),
        ({"type": "AdamW"}, ("AdamW", 2e-4, (0.5, 0.999)), ("AdamW", 2e-4, (0.5, 0.999))),
        ({"type": "Adam"}, ("Adam", 1e-4, (0.0, 0.999)), ("Adam", 4e-4, (0.0, 0.999))),
    ],
)
def test_what_the_config_says_itself_wins(changes, generator, discriminator):
    config = load("biggan", optimizer=changes)
    assert (values(config), values(config, "discriminator")) == (generator, discriminator)


def test_the_command_line_wins_too():
    config = load("biggan", ["optimizer.lr=1e-3", "discriminator_steps=3"])
    assert (values(config)[1], values(config, "discriminator")[1]) == (1e-3, 1e-3)
    assert (config.discriminator_steps, values(config)[2]) == (3, (0.0, 0.999))


def test_a_written_config_says_all_and_needs_no_plugin(monkeypatch):
    for config in (load("biggan"), load("dic", optimizer={"lr": 1e-3})):
        written = as_mapping(config)
        with monkeypatch.context() as patch:
            patch.setattr(
                "losskit.discovery.presets.preset_config", lambda *_: pytest.fail("looked up")
            )
            assert as_mapping(load_train_config(written)) == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": 3}, "optimizer must be a mapping, not 3"),
        ({"optimizer": {"generator": 3}}, "optimizer.generator must be a mapping, not 3"),
        ({"optimizer": {"lrr": 3}}, "did you mean 'optimizer.lr'"),
        ({"preset": 3}, "preset must be text, not 3"),
        ({"preset": "wgan"}, "there is no preset 'wgan'; did you mean"),
        ({"loss_config": {"gp": 1}}, "no loss_config key 'gp'"),
        ({"loss_config": 1}, "loss_config must be a mapping"),
    ],
)
def test_mistakes_are_still_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        load(**{"preset": "wgan-gp", **changes})


def test_a_training_run_takes_them(tmp_path):
    trainer = Trainer(
        load(
            out=str(tmp_path / "run"),
            steps=7,
            data={"images": "builtin:faces", "size": 8, "batch_size": 2},
            logging={"tensorboard": False, "samples_every": 0},
            fabric={"accelerator": "cpu"},
        )
    )
    assert [o.param_groups[0]["betas"] for o in trainer.optimizers.values()] == [(0.0, 0.9)] * 2
    trainer.run()
    updates = {
        name: {int(entry["step"]) for entry in optimizer.state_dict()["state"].values()}
        for name, optimizer in trainer.optimizers.items()
    }
    assert updates == {"discriminator": {7}, "generator": {1}}
