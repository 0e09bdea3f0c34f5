"""What all four loops train: a tiny denoiser, on pictures made of smooth noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset


class Denoiser(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy + self.body(noisy)


class NoisyPictures(Dataset[dict[str, Tensor]]):
    """Pairs by index: always the same picture for the same index."""

    def __init__(self, count: int = 32, size: int = 16) -> None:
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(index)
        small = torch.rand(1, 3, 4, 4, generator=generator)
        target = F.interpolate(small, size=(self.size, self.size), mode="bilinear")[0]
        noise = torch.randn(target.shape, generator=generator)
        return {"noisy": target + 0.1 * noise, "target": target}
