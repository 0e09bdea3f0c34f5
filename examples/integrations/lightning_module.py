"""losskit in Lightning."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from denoiser import Denoiser, NoisyPictures
from torch import Tensor
from torch.utils.data import DataLoader

import losskit


class DenoisingModule(L.LightningModule):
    """The objective is a part of the module: it moves to the device with it."""

    def __init__(self, objective: str | Path) -> None:
        super().__init__()
        self.model = Denoiser()
        self.objective = losskit.load_objective(objective)
        self.totals: list[float] = []

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        outputs = {
            "pred": self.model(batch["noisy"]),
            "target": batch["target"],
            "iteration": self.global_step,  # schedules follow the optimizer's steps
        }
        out = self.objective(outputs)
        self.log_dict(out.logs, batch_size=len(batch["noisy"]))
        self.totals.append(float(out.total.detach()))
        return out.total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=3e-3)


def train(epochs: int = 5, *, accumulation: int = 1) -> list[float]:
    """The total of each batch."""
    torch.manual_seed(0)
    module = DenoisingModule(Path(__file__).with_name("objective.yaml"))
    trainer = L.Trainer(
        max_epochs=epochs,
        accumulate_grad_batches=accumulation,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(NoisyPictures(), batch_size=8 // accumulation))
    return module.totals


if __name__ == "__main__":
    totals = train()
    print(f"first {totals[0]:.4f}, last {totals[-1]:.4f}")
