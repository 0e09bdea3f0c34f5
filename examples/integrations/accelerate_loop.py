"""losskit under Accelerate."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from denoiser import Denoiser, NoisyPictures
from torch.utils.data import DataLoader

import losskit


def train(epochs: int = 5, *, cpu: bool = True, accumulation: int = 1) -> list[float]:
    """The total of each batch, averaged over the processes."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=cpu, gradient_accumulation_steps=accumulation)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(NoisyPictures(), batch_size=8 // accumulation)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    # Not prepared: it has nothing to train, and DDP wants parameters.
    objective = losskit.load_objective(Path(__file__).with_name("objective.yaml"))
    objective = objective.to(accelerator.device)
    totals: list[float] = []
    for _ in range(epochs):
        for batch in loader:
            with accelerator.accumulate(model):
                outputs = {
                    "pred": model(batch["noisy"]),
                    "target": batch["target"],
                    "iteration": len(totals) // accumulation,  # schedules follow the optimizer
                }
                out = objective(outputs)
                accelerator.backward(out.total)  # divides by the accumulation
                optimizer.step()
                optimizer.zero_grad()
            totals.append(float(accelerator.reduce(out.total.detach(), reduction="mean")))
        logs = accelerator.reduce(out.logs, reduction="mean")
        accelerator.print("  ".join(f"{name} {float(value):.4f}" for name, value in logs.items()))
    return totals


if __name__ == "__main__":
    train(cpu=False)
