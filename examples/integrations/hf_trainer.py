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
    """``compute_loss`` is all there is to override; ``log`` adds the terms to what is logged."""

    def __init__(self, *args: Any, objective: losskit.Objective, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The objective is a mean over the batch it is given, so the Trainer must divide it while
        # gradients accumulate; a model that takes **kwargs would make it believe otherwise.
        self.model_accepts_loss_kwargs = False
        self.objective = objective.to(self.args.device)
        self.totals: list[Tensor] = []
        self._terms: dict[str, list[Tensor]] = {}

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
        if model.training:
            self.totals.append(out.total.detach())
            for name, value in out.logs.items():
                self._terms.setdefault(name, []).append(value)
        return (out.total, {"pred": pred}) if return_outputs else out.total

    def log(self, logs: dict[str, float], *more: Any) -> None:
        logs.update({name: float(torch.stack(v).mean()) for name, v in self._terms.items()})
        self._terms.clear()
        super().log(logs, *more)


def make_trainer(epochs: int, folder: str | None = None, *, accumulation: int = 1) -> Trainer:
    """A trainer that takes the same steps as the other three loops, but for the order of the data."""
    torch.manual_seed(0)
    arguments = TrainingArguments(
        output_dir=folder or tempfile.mkdtemp(),
        num_train_epochs=epochs,
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        use_cpu=True,
        remove_unused_columns=False,  # it would look for the inputs in the model's signature
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="epoch",
        dataloader_pin_memory=False,
    )
    objective = losskit.load_objective(Path(__file__).with_name("objective.yaml"))
    return ObjectiveTrainer(
        Denoiser(), arguments, train_dataset=NoisyPictures(), objective=objective
    )


def train(epochs: int = 5, folder: str | None = None, *, accumulation: int = 1) -> list[float]:
    """The total of each batch."""
    trainer = make_trainer(epochs, folder, accumulation=accumulation)
    trainer.train()
    return [float(total) for total in trainer.totals]


if __name__ == "__main__":
    totals = train()
    print(f"first {totals[0]:.4f}, last {totals[-1]:.4f}")
