"""The config is checked whole, and every error names its key."""

from __future__ import annotations

import pytest

from losskit.errors import ConfigError
from losskit_train.config.training import as_mapping, load_train_config

GOOD = {
    "model": {"generator": {"type": "A"}},
    "data": {"images": "x", "batch_size": 4},
    "gan_loss": [{"type": "GANLoss", "loss_weight": 1.0}],
}


def test_what_is_written_reads_back_the_same():
    config = load_train_config({**GOOD, "optimizer": {"lr": "1e-4", "generator": {"lr": 1}}})
    assert config.optimizer.lr == 1e-4  # YAML 1.1 reads 1e-4 as text
    assert config.optimizer.of("generator")["lr"] == 1.0
    assert config.optimizer.of("discriminator")["lr"] == 1e-4
    assert load_train_config(as_mapping(config)) == config


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: {generator: {type: A}}\ndata: {images: x}\ngan_loss: [{type: B}]\n")
    config = load_train_config(
        path,
        [
            "optimizer.generator.lr=3e-4",
            "data.value_range=[0, 1]",
            "gan_loss.0.loss_weight=2",
            "model.discriminator.type=D",
            "steps=7",
        ],
    )
    assert config.optimizer.generator.lr == 3e-4
    assert config.data.value_range == (0.0, 1.0)
    assert config.gan_loss == [{"type": "B", "loss_weight": 2}]
    assert config.model.discriminator == {"type": "D"}
    assert config.steps == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", r"unknown key 'optimizer.lrr'; did you mean 'optimizer.lr'\?"),
        ("optimizer.generator.bettas=1", "did you mean 'optimizer.generator.betas'"),
        ("lr=1", r"unknown key 'lr'; did you mean 'optimizer.lr'\?"),
        ("zzz=1", "unknown key 'zzz'; known here: model, data"),
        ("steps=many", "steps must be a whole number, not 'many'"),
        ("steps=true", "steps must be a whole number, not True"),
        ("steps=0", "steps must be at least 1, not 0"),
        ("data.task=inpaintin", "data.task must be one of .*did you mean 'inpainting'"),
        ("data.hole=[0.5]", "data.hole must have 2 values"),
        ("data.hole=[0.5, 0.2]", "data.hole must be two shares"),
        ("data.value_range=[1, 0]", "data.value_range must rise"),
        ("data.flip=1", "data.flip must be true or false, not 1"),
        ("data=3", "data must be a mapping, not 3"),
        ("model.inputs=noise", "model.inputs must be a list, not 'noise'"),
        ("model.ema=1", "model.ema must be below 1"),
        ("optimizer.type=Adan", "no optimiser of torch.optim; did you mean 'Adam'"),
        ("optimizer.type=Optimizers", "no optimiser of torch.optim"),
        ("fabric.devices=two", "fabric.devices must be a number, a list .* not 'two'"),
        ("fabric.devices=0", "fabric.devices must be a number, a list .* not 0"),
        ("fabric.devices=[]", r"fabric.devices must be a number, a list .* not \[\]"),
        (
            "fabric.strategy=ddp_spawn",
            "fabric.strategy must be one of auto, ddp, .* not 'ddp_spawn'",
        ),
        ("fabric={strategy: fsdp, precision: 16-mixed}", "does not go with .*take bf16-mixed"),
        ("optimizer.type=LBFGS", "'LBFGS' evaluates the loss several times in an update"),
        ("fabric.precision=fp16", "fabric.precision must be one of"),
        ("accumulate=3", "data.batch_size 4 must be a multiple of accumulate 3"),
        ("data.task=paired", "data.task 'paired' needs data.inputs"),
        ("data.inputs=y", "data.inputs is for data.task 'paired' only"),
        ("gan_loss.3.type=x", "'3' is no index of a list of 1"),
        ("steps.more=1", "unknown key|which has no keys"),
        ("steps", "write an override as key=value"),
        ("seed=99999999999999999999", "seed must be at most 9223372036854775807, not 9999"),
        ("optimizer.lr=.inf", "optimizer.lr must be finite, not inf"),
        ("optimizer.lr=inf", "optimizer.lr must be finite, not 'inf'"),
        ("optimizer.generator.lr=nan", "optimizer.generator.lr must be finite, not 'nan'"),
        ("optimizer.betas=[0.5, .nan]", "optimizer.betas must be finite"),
        ("data.value_range=[0, .inf]", "data.value_range must be finite"),
        ("model.ema=.nan", "model.ema must be finite"),
        (f"optimizer.lr={'9' * 400}", "optimizer.lr must be a number, not 999"),
        ("=3", "write an override as key=value"),
        ("steps=[", "not readable as YAML"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_train_config({**GOOD, "steps": 5}, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "devices"),
    [("2", 2), ("-1", -1), ("0,1", [0, 1]), ("'3,'", [3]), ("[0, 2]", [0, 2]), ("auto", "auto")],
)
def test_devices_are_named_as_fabric_names_them(text, devices):
    config = load_train_config(GOOD, [f"fabric.devices={text}"])
    assert config.fabric.devices == devices
    assert load_train_config(as_mapping(config)) == config


def test_a_missing_section_and_a_wrong_size():
    with pytest.raises(ConfigError, match="data is missing"):
        load_train_config({"model": {"generator": {"type": "A"}}})
    with pytest.raises(ConfigError, match="must be a multiple of data"):
        load_train_config({**GOOD, "data": {"images": "x", "task": "super-resolution", "size": 9}})


def test_a_preset_without_its_name_or_with_a_wrong_key():
    with pytest.raises(ConfigError, match="loss_config belongs to a preset"):
        load_train_config({**GOOD, "loss_config": {"a": 1}}).losses()
    with pytest.raises(ConfigError, match="no preset 'stylegan22'"):
        load_train_config({**GOOD, "preset": "stylegan22"}).losses()
