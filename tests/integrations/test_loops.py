"""The four loops of examples/integrations train, and, given the same data, do the same thing."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import losskit

FOLDER = Path(__file__).parents[2] / "examples" / "integrations"
STEPS_AN_EPOCH = 4
TERMS = ["loss_charbonnier", "loss_gradient", "psnr"]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import a file of the example the way ``python FILE`` would."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load_module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load_module
    for name in ("denoiser", "plain_loop", "lightning_module", "accelerate_loop", "hf_trainer"):
        if name not in before:
            sys.modules.pop(name, None)


def check(totals: list[float], epochs: int) -> None:
    assert len(totals) == epochs * STEPS_AN_EPOCH
    last = sum(totals[-STEPS_AN_EPOCH:]) / STEPS_AN_EPOCH
    assert last < 0.9 * totals[0]


def test_plain_loop(load, capsys) -> None:
    check(load("plain_loop").train(6), 6)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "loss_charbonnier" in line
    assert "psnr -" in line  # monitored: logged, not optimised


@pytest.fixture
def plain(load):
    """The totals of the plain loop, two epochs: each step's say that the steps before were the same."""
    return load("plain_loop").train(2)


def means(totals: list[float], accumulation: int) -> list[float]:
    """Of the batches that make one step together."""
    parts = zip(*(totals[i::accumulation] for i in range(accumulation)), strict=True)
    return [sum(step) / accumulation for step in parts]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_accelerate_is_the_plain_loop(load, plain, capsys, accumulation) -> None:
    pytest.importorskip("accelerate")
    totals = load("accelerate_loop").train(2, accumulation=accumulation)
    assert means(totals, accumulation) == pytest.approx(plain, rel=1e-5)
    line = capsys.readouterr().out.splitlines()[-1]
    assert [word for word in line.split() if word.isidentifier()] == TERMS


@pytest.mark.filterwarnings("ignore")  # Lightning's own advice about workers and intervals
@pytest.mark.parametrize("accumulation", [1, 2])
def test_lightning_is_the_plain_loop(load, plain, accumulation) -> None:
    pytest.importorskip("lightning")
    totals = load("lightning_module").train(2, accumulation=accumulation)
    assert means(totals, accumulation) == pytest.approx(plain, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_lightning_logs_the_terms(load) -> None:
    lightning = pytest.importorskip("lightning")
    module = load("lightning_module").DenoisingModule(FOLDER / "objective.yaml")
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = lightning.Trainer(max_steps=1, accelerator="cpu", **quiet)
    pictures = load("denoiser").NoisyPictures()
    before = copy.deepcopy(module.model)
    trainer.fit(module, torch.utils.data.DataLoader(pictures, batch_size=8))
    logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
    expected = losskit.load_objective(FOLDER / "objective.yaml")(outputs_of(before, pictures)).logs
    assert logged == pytest.approx({name: float(v) for name, v in expected.items()}, rel=1e-5)


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("accumulation", [1, 2])
def test_hf_trainer_is_the_plain_loop(load, plain, tmp_path, monkeypatch, accumulation) -> None:
    pytest.importorskip("transformers")
    trainer = load("hf_trainer").make_trainer(2, str(tmp_path), accumulation=accumulation)
    in_order = torch.utils.data.DataLoader(trainer.train_dataset, batch_size=8 // accumulation)
    loader = trainer.accelerator.prepare(in_order)
    monkeypatch.setattr(trainer, "get_train_dataloader", lambda: loader)
    trainer.train()
    totals = [float(total) for total in trainer.totals]
    assert means(totals, accumulation) == pytest.approx(plain, rel=1e-5)
    first, second, _ = trainer.state.log_history  # a line an epoch, and a summary
    assert [name for name in first if name in TERMS] == TERMS
    half = len(totals) // 2
    for line, part in ((first, totals[:half]), (second, totals[half:])):
        together = line["loss_charbonnier"] + line["loss_gradient"]  # psnr is monitored only
        assert together == pytest.approx(sum(part) / half, rel=1e-4)
        assert line["loss"] == pytest.approx(sum(part) / half, rel=1e-3)  # what the Trainer says
        assert line["psnr"] < 0


@pytest.mark.filterwarnings("ignore")
def test_hf_compute_loss_is_the_objective(load, tmp_path) -> None:
    """Value, gradients and outputs, on one batch, against a step by hand."""
    pytest.importorskip("transformers")
    trainer = load("hf_trainer").make_trainer(1, str(tmp_path))
    model = copy.deepcopy(trainer.model)
    pictures = load("denoiser").NoisyPictures()
    outputs = outputs_of(model, pictures)
    expected = losskit.load_objective(FOLDER / "objective.yaml")(outputs).total
    expected.backward()
    batch = {"noisy": outputs["noisy"], "target": outputs["target"]}
    loss, returned = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    assert loss.item() == expected.item()
    assert torch.equal(returned["pred"], outputs["pred"])
    loss.backward()
    for ours, by_hand in zip(trainer.model.parameters(), model.parameters(), strict=True):
        assert by_hand.grad.abs().max() > 0
        torch.testing.assert_close(ours.grad, by_hand.grad)


@pytest.mark.filterwarnings("ignore")
def test_hf_trainer_divides_whatever_the_model_takes(load, tmp_path) -> None:
    """A model of **kwargs, and batches with labels, which the Trainer counts: still means of batches."""
    pytest.importorskip("transformers")
    trainer_of = load("hf_trainer")
    denoiser = load("denoiser")

    class Open(denoiser.Denoiser):
        def forward(self, noisy, **kwargs):
            return super().forward(noisy)

    class Labelled(denoiser.NoisyPictures):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "labels": torch.tensor([index])}

    trainer = trainer_of.make_trainer(1, str(tmp_path), accumulation=2)
    trainer = trainer_of.ObjectiveTrainer(
        Open(), trainer.args, train_dataset=Labelled(), objective=trainer.objective
    )
    batches = [outputs_of(trainer.model, Labelled(), 4, at) for at in (0, 4)]
    trainer.current_gradient_accumulation_steps = 2
    for batch in batches:
        inputs = {"noisy": batch["noisy"], "target": batch["target"]}
        trainer.training_step(trainer.model, inputs, num_items_in_batch=torch.tensor(8))
    accumulated = [p.grad.clone() for p in trainer.model.parameters()]
    trainer.model.zero_grad()
    trainer.objective(outputs_of(trainer.model, Labelled())).total.backward()
    for ours, whole in zip(accumulated, trainer.model.parameters(), strict=True):
        torch.testing.assert_close(ours, whole.grad, rtol=1e-4, atol=1e-7)


def outputs_of(model, pictures, count: int = 8, at: int = 0) -> dict[str, torch.Tensor]:
    items = [pictures[index] for index in range(at, at + count)]
    noisy, target = (torch.stack([item[key] for item in items]) for key in ("noisy", "target"))
    return {"noisy": noisy, "pred": model(noisy), "target": target}
