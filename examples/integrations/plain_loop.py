"""losskit in a plain PyTorch loop."""

from __future__ import annotations

from pathlib import Path

import torch
from denoiser import Denoiser, NoisyPictures
from torch.utils.data import DataLoader

import losskit


def train(epochs: int = 5) -> list[float]:
    """The total of each step."""
    torch.manual_seed(0)
    model = Denoiser()
    objective = losskit.load_objective(Path(__file__).with_name("objective.yaml"))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(epochs):
        for batch in DataLoader(NoisyPictures(), batch_size=8):
            out = objective({"pred": model(batch["noisy"]), "target": batch["target"]})
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()
            totals.append(out.total.detach())
        print("  ".join(f"{name} {float(value):.4f}" for name, value in out.logs.items()))
    return [float(total) for total in totals]


if __name__ == "__main__":
    train()
