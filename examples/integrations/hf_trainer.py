"""losskit as the loss of Hugging Face's Trainer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from denoiser import Denoiser, NoisyPictures
from torch import Tensor
from transformers import Trainer, TrainingArguments

import losskit


class ObjectiveTrainer(Trainer):
    """``compute_loss`` is all there is to override."""

    def __init__(self, *args: Any, objective: losskit.Objective, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective.to(self.args.device)
        self.totals: list[float] = []

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        pred = model(inputs["noisy"])
        outputs = {"pred": pred, "target": inputs["target"], "iteration": self.state.global_step}
        out = self.objective(outputs)
        self.totals.append(float(out.total.detach()))
        return (out.total, {"pred": pred}) if return_outputs else out.total


def train(epochs: int = 5, folder: str | None = None) -> list[float]:
    """The total of each step."""
    torch.manual_seed(0)
    arguments = TrainingArguments(
        output_dir=folder or tempfile.mkdtemp(),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        use_cpu=True,
        remove_unused_columns=False,  # it would look for the inputs in the model's signature
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    objective = losskit.load_objective(Path(__file__).with_name("objective.yaml"))
    trainer = ObjectiveTrainer(
        Denoiser(), arguments, train_dataset=NoisyPictures(), objective=objective
    )
    trainer.train()
    return trainer.totals


if __name__ == "__main__":
    totals = train()
    print(f"first {totals[0]:.4f}, last {totals[-1]:.4f}")
