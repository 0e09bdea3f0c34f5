"""LightCNN against a forward pass on its state dict, its checkpoints, its loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import losskit
from losskit.errors import WeightsError
from losskit_identity import LightCNN, LightCNNFeatureLoss

# (index in features, kernel) of the nine max-feature-map layers; None: pooling.
TABLE = [
    (0, 5),
    None,
    (2, 1),
    (3, 3),
    None,
    (5, 1),
    (6, 3),
    None,
    (8, 1),
    (9, 3),
    (10, 1),
    (11, 3),
    None,
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(2)
    state = LightCNN().state_dict()
    path = tmp_path_factory.mktemp("weights") / "light_cnn.pth"
    head = {"classifier.0.filter.weight": torch.zeros(2, 2), "classifier.2.bias": torch.zeros(1)}
    torch.save({"state_dict": {**state, **head}}, path)
    return path, state


def _forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    for row in TABLE:
        if row is None:
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            continue
        index, kernel = row
        weight, bias = (
            state[f"features.{index}.filter.weight"],
            state[f"features.{index}.filter.bias"],
        )
        both = F.conv2d(x, weight, bias, padding=kernel // 2)
        x = torch.where(
            both[:, ::1][:, : both.shape[1] // 2] > both[:, both.shape[1] // 2 :],
            both[:, : both.shape[1] // 2],
            both[:, both.shape[1] // 2 :],
        )
    return x


@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_equals_the_table(checkpoint: tuple[Path, dict[str, Tensor]], criterion: str) -> None:
    path, state = checkpoint
    pred, target = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)
    loss = losskit.build(
        {
            "type": "LightCNNFeatureLoss",
            "pretrained": str(path),
            "criterion": criterion,
            "loss_weight": 3.0,
        }
    )
    a, b = _forward(state, pred), _forward(state, target)
    assert a.shape == (2, 128, 8, 8)
    expected = 3 * (F.l1_loss(a, b) if criterion == "l1" else F.mse_loss(a, b))
    torch.testing.assert_close(loss(pred, gt=target), expected, atol=1e-7, rtol=1e-4)


def test_layers_stop_early() -> None:
    network = LightCNN()
    first, third = network(torch.rand(1, 3, 128, 128), ("pool1", "pool3"))
    assert first.shape == (1, 48, 64, 64)
    assert third.shape == (1, 192, 16, 16)


def test_gradients_and_reductions() -> None:
    pred, target = (torch.rand(2, 3, 32, 32, requires_grad=True) for _ in range(2))
    values = LightCNNFeatureLoss("random", reduction="none")(pred, target)
    assert values.shape == (2,)
    torch.testing.assert_close(LightCNNFeatureLoss("random")(pred, target), values.mean())
    values.sum().backward()
    assert target.grad is None
    assert pred.grad is not None
    assert pred.grad.abs().sum() > 0


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="criterion must be 'l1' or 'mse', not 'l2'"):
        LightCNNFeatureLoss("random", "l2")  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match="weights must be a checkpoint's path or 'random', not None"
    ):
        LightCNNFeatureLoss(None)  # type: ignore[arg-type]
    torch.save({"features.0.filter.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth' does not fit LightCNN"):
        LightCNNFeatureLoss(str(tmp_path / "x.pth"))
    with pytest.raises(WeightsError, match="no weights file"):
        LightCNNFeatureLoss("gone.pth")
    with pytest.raises(ValueError, match="one shape"):
        LightCNNFeatureLoss("random")(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
