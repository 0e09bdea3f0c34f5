"""losskit under Accelerate."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from denoiser import Denoiser, NoisyPictures
from torch.utils.data import DataLoader

import losskit


def train(epochs: int = 5, *, cpu: bool = True) -> list[float]:
    """The total of each step, averaged over the processes."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=cpu, gradient_accumulation_steps=1)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(NoisyPictures(), batch_size=8)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    # Not prepared: it has nothing to train, and DDP wants parameters.
    objective = losskit.load_objective(Path(__file__).with_name("objective.yaml"))
    objective = objective.to(accelerator.device)
    totals = []
    for _ in range(epochs):
        for batch in loader:
            with accelerator.accumulate(model):
                out = objective({"pred": model(batch["noisy"]), "target": batch["target"]})
                accelerator.backward(out.total)
                optimizer.step()
                optimizer.zero_grad()
            totals.append(float(accelerator.reduce(out.total.detach(), reduction="mean")))
        accelerator.print(f"total {totals[-1]:.4f}")
    return totals


if __name__ == "__main__":
    train(cpu=False)
