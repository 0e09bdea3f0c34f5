"""The generator gets out of a run, and weights get in."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
import toyruns
import yaml

import losskit_train.config.training
import losskit_train.run.loop
from losskit.cli import main
from losskit_train.networks import DCGANGenerator

CONFIG = {**toyruns.CONFIG, "model": {**toyruns.CONFIG["model"], "ema": 0.5}}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    toyruns.write_run(CONFIG)
    assert main(["train", "c.yaml", "--quiet"]) == 0
    return Path("run")


def network_of(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """As somebody does who has the weights and the network, and no losskit config."""
    network = DCGANGenerator(**{k: v for k, v in toyruns.GENERATOR.items() if k != "type"})
    network.load_state_dict(state)
    return network.eval()


def assert_gives(path, kind, given, expected, atol):
    """An exported graph makes the same images of ``given``, its only input."""
    if kind == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        torch.testing.assert_close(torch.from_numpy(made), expected, atol=atol, rtol=1e-4)
    else:
        torch.testing.assert_close(torch.export.load(path).module()(given), expected)


@torch.no_grad()
def test_weights_load_in_plain_pytorch(run, capsys):
    noise = torch.randn(3, 4)
    expected = losskit_train.load_generator(run)(noise)
    last = losskit_train.load_generator(run, use_ema=False)(noise)
    assert not torch.equal(expected, last)
    assert main(["export", "run"]) == 0
    assert capsys.readouterr().out.strip().endswith("run/generator.safetensors")
    state = safetensors.torch.load_file("run/generator.safetensors")
    torch.testing.assert_close(network_of(state)(noise), expected)
    with safetensors.safe_open("run/generator.safetensors", "pt") as file:
        assert json.loads(file.metadata()["losskit"])["generator"] == toyruns.GENERATOR
    assert main(["export", "run", "--kind", "torch", "--no-ema", "--out", "a/last.pth"]) == 0
    state = torch.load("a/last.pth", weights_only=True)
    torch.testing.assert_close(network_of(state)(noise), last)
    assert json.loads(Path("a/last.json").read_text())["inputs"] == ["noise"]


# Of the exporter, about its own code.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["onnx", "torch-export"])
def test_graphs_give_the_same_images_for_any_batch(run, kind, capsys):
    assert main(["export", "run", "--kind", kind]) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    generator = losskit_train.load_generator(run)
    for size in (1, 5):
        noise = torch.randn(size, 4)
        with torch.no_grad():
            expected = generator(noise)
        assert_gives(path, kind, noise, expected, atol=1e-5)


def test_what_is_missing_is_one_line(run, capsys, monkeypatch):
    monkeypatch.setattr("losskit_train.results.export.find_spec", lambda name: None)
    assert main(["export", "run", "--kind", "onnx"]) == 1
    assert (
        "onnx needs onnx, onnxscript: pip install 'losskit-train[export]'"
        in capsys.readouterr().err
    )
    assert main(["export", "nowhere", "--kind", "torch"]) == 1
    assert "there is no whole checkpoint in nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["plain", "params_ema", "state_dict", "params", "safetensors"])
def test_training_begins_from_others_weights(run, form):
    state = losskit_train.load_generator(run).state_dict()
    path = Path(f"weights.{'safetensors' if form == 'safetensors' else 'pth'}")
    if form == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state if form == "plain" else {form: state, "step": 3}, path)
    config = {**CONFIG, "out": form, "model": {**CONFIG["model"], "warm_start": str(path)}}
    Path("w.yaml").write_text(yaml.safe_dump(config))
    trainer = losskit_train.run.loop.Trainer(
        losskit_train.config.training.load_train_config(Path("w.yaml"))
    )
    torch.testing.assert_close(trainer.model.generator.state_dict(), state)


def test_a_file_without_weights_is_named(run, capsys):
    torch.save({"optimizer": {"lr": 1.0}}, "odd.pth")
    for name in ("odd.pth", "missing.pth"):
        config = {**CONFIG, "out": "other", "model": {**CONFIG["model"], "warm_start": name}}
        Path("w.yaml").write_text(yaml.safe_dump(config))
        assert main(["train", "w.yaml", "--check"]) == 1
        error = capsys.readouterr().err
        assert name in error
        assert error.count("\n") == 1


SUPER_RESOLUTION = {
    "gen_auxiliary_loss": [{"type": "L1Loss"}],
    "model": {
        "generator": {"type": "SuperResolver", "channels": 4, "blocks": 1, "scale": 4},
        "inputs": ["lq"],
    },
    "data": {
        "images": "builtin:photos",
        "task": "super-resolution",
        "scale": 4,
        "size": 32,
        "batch_size": 2,
    },
    "steps": 1,
    "out": "sr",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["onnx", "torch-export"])
def test_graphs_of_images_take_other_sizes(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    Path("sr.yaml").write_text(yaml.safe_dump(SUPER_RESOLUTION))
    assert main(["train", "sr.yaml", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["export", "sr", "--kind", kind]) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    generator = losskit_train.load_generator("sr")
    for batch, height, width in ((1, 8, 8), (3, 24, 17)):
        image = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            expected = generator(image)
        assert_gives(path, kind, image, expected, atol=1e-4)
