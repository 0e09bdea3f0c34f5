"""What an Objective costs over the hand-written sum of the same torch operations.

    python benchmarks/core.py --threads 2

Ten pixel terms on 8×3×256×256, forward and backward. The goal is at most 3 % over.
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.nn.functional as F
from _timing import add_options, compare, report

import losskit

TERMS = [
    {"type": "L1Loss", "loss_weight": 1.0},
    {"type": "MSELoss", "loss_weight": 0.5},
    {"type": "CharbonnierLoss", "loss_weight": 0.25, "eps": 1e-6},
    {"type": "HuberLoss", "loss_weight": 0.1},
    {"type": "L1Loss", "loss_weight": 0.2, "loss_name": "loss_l1_again"},
    {"type": "MSELoss", "loss_weight": 0.3, "loss_name": "loss_mse_again"},
    {"type": "CharbonnierLoss", "loss_weight": 0.4, "eps": 1e-3, "loss_name": "loss_charb_again"},
    {"type": "HuberLoss", "loss_weight": 0.6, "delta": 0.1, "loss_name": "loss_huber_again"},
    {"type": "L1Loss", "loss_weight": 0.7, "reduction": "sum", "loss_name": "loss_l1_sum"},
    {"type": "MSELoss", "loss_weight": 0.8, "reduction": "sum", "loss_name": "loss_mse_sum"},
]


def by_hand(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (
        1.0 * F.l1_loss(pred, target)
        + 0.5 * F.mse_loss(pred, target)
        + 0.25 * torch.sqrt((pred - target) ** 2 + 1e-6).mean()
        + 0.1 * F.huber_loss(pred, target)
        + 0.2 * F.l1_loss(pred, target)
        + 0.3 * F.mse_loss(pred, target)
        + 0.4 * torch.sqrt((pred - target) ** 2 + 1e-3).mean()
        + 0.6 * F.huber_loss(pred, target, delta=0.1)
        + 0.7 * F.l1_loss(pred, target, reduction="sum")
        + 0.8 * F.mse_loss(pred, target, reduction="sum")
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    add_options(parser, rounds=25)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = (options.batch, 3, options.size, options.size)
    pred, target = torch.rand(shape, requires_grad=True), torch.rand(shape)
    objective = losskit.Objective(TERMS)
    outputs = {"pred": pred, "target": target}
    torch.testing.assert_close(objective(outputs).total, by_hand(pred, target))

    def hand() -> None:
        pred.grad = None
        by_hand(pred, target).backward()

    def ours() -> None:
        pred.grad = None
        objective(outputs).total.backward()

    rows = compare({"hand-written sum": hand, "Objective": ours}, rounds=options.rounds)
    title = (
        f"10 pixel terms, {'×'.join(map(str, shape))}, {options.threads} threads, forward+backward"
    )
    return 0 if report(title, rows, {"Objective": 1.03}, options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
