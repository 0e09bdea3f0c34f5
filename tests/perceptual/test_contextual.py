"""The contextual loss against the paper's equations by loops, and its memory."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from losskit_perceptual.contextual import DISTANCES, ContextualLoss, contextual_loss


def _loops(pred: np.ndarray, target: np.ndarray, h: float, distance: str) -> float:
    """Equations 2 to 5 for one sample, ``(c, n)`` and ``(c, m)``, one number at a time."""
    if distance == "cosine":
        mean = target.mean(1, keepdims=True)
        pred, target = pred - mean, target - mean
    n, m = pred.shape[1], target.shape[1]
    similarity = np.zeros((n, m))
    for i in range(n):
        row = np.zeros(m)
        for j in range(m):
            a, b = pred[:, i], target[:, j]
            if distance == "cosine":
                row[j] = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            elif distance == "l1":
                row[j] = np.abs(a - b).sum()
            else:
                row[j] = ((a - b) ** 2).sum()
        weights = np.exp((1 - row / (row.min() + 1e-5)) / h)
        similarity[i] = weights / weights.sum()
    return -math.log(similarity.max(0).mean() + 1e-5)


@pytest.mark.parametrize("distance", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("chunk_size", [1024, 5])
@pytest.mark.parametrize("size", [(3, 4), (2, 3), (5, 4)])
def test_equals_the_paper_for_each_sample_of_a_batch(
    distance: str, chunk_size: int, size: tuple[int, int]
) -> None:
    pred = torch.rand(3, 4, 3, 4, dtype=torch.float64)
    target = torch.rand(3, 4, *size, dtype=torch.float64)
    ours = contextual_loss(pred, target, distance=distance, chunk_size=chunk_size, reduction="none")
    for i in range(3):
        expected = _loops(pred[i].flatten(1).numpy(), target[i].flatten(1).numpy(), 0.5, distance)
        assert float(ours[i]) == pytest.approx(expected, rel=1e-8)


def test_chunks_change_no_gradient() -> None:
    pred, target = torch.rand(2, 2, 4, 5, 5, dtype=torch.float64)
    gradients = []
    for chunk_size in (1024, 7):
        x = pred.clone().requires_grad_()
        contextual_loss(x, target, chunk_size=chunk_size, spatial_weight=0.1).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def _kept(side: int, chunk_size: int) -> int:
    """Numbers that the graph keeps for the backward pass."""
    total = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel()
        return tensor

    pred = torch.rand(1, 4, side, side, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        contextual_loss(pred, torch.rand(1, 4, side, side), chunk_size=chunk_size)
    return total


def test_memory_is_linear() -> None:
    """Four times the features need about four times the memory, and a fraction of one chunk's."""
    assert _kept(32, 256) < 4.5 * _kept(16, 64)
    assert _kept(32, 256) < 0.02 * _kept(32, 4096)


def test_positions_matter_only_in_the_bilateral_form() -> None:
    target = torch.rand(1, 8, 6, 6)
    moved = target.roll((2, 3), (2, 3))
    plain = contextual_loss(moved, target), contextual_loss(target, target)
    torch.testing.assert_close(*plain)
    bilateral = [contextual_loss(x, target, spatial_weight=0.5) for x in (moved, target)]
    assert bilateral[0] > bilateral[1]


def test_equal_features_have_finite_gradients() -> None:
    target = torch.rand(1, 4, 4, 4)
    pred = target.clone().requires_grad_()
    contextual_loss(pred, target).backward()
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize(
    "option",
    [{"bandwidth": 0.0}, {"distance": "cos"}, {"spatial_weight": 2.0}, {"chunk_size": 0}],
)
def test_errors_name_the_argument(option: dict[str, object]) -> None:
    image = torch.rand(1, 4, 4, 4)
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        contextual_loss(image, image, **option)  # type: ignore[arg-type]


def test_the_loss_sums_the_papers_value_over_a_networks_layers() -> None:
    loss = ContextualLoss(
        {"relu1_1": 2.0, "conv2_1": 0.5},
        backbone="vgg11",
        weights="random",
        use_input_norm=False,
        data_range=(0, 1),
        reduction="none",
    )
    torch.manual_seed(0)
    pred, target = torch.rand(2, 2, 3, 8, 8, dtype=torch.float64)
    network = copy.deepcopy(loss.backbone.network.features[:4]).double()
    wanted = torch.zeros(2, dtype=torch.float64)
    for weight, depth in ((2.0, 2), (0.5, 4)):  # up to relu1_1, and up to conv2_1
        fake, real = (network[:depth](x).flatten(2).numpy() for x in (pred, target))
        for i in range(2):
            wanted[i] += weight * _loops(fake[i], real[i], 0.5, "cosine")
    torch.testing.assert_close(loss(pred, target), wanted)


def test_a_feature_at_the_targets_mean_has_a_bounded_gradient() -> None:
    target = torch.rand(1, 8, 4, 4, dtype=torch.float64)
    pred = target.clone()
    pred[..., 1, 1] = target.mean((2, 3))  # no direction is left of it
    for nearby in (0.0, 1e-12, 1e-6):
        image = (pred + nearby).requires_grad_()
        (gradient,) = torch.autograd.grad(contextual_loss(image, target), image)
        assert gradient.abs().max() < 1e4


@pytest.mark.parametrize("distance", DISTANCES)
def test_equal_maps_are_never_below_nothing(distance: str) -> None:
    features = torch.eye(16).view(1, 16, 4, 4) * 1000  # as distinct as can be
    assert contextual_loss(features, features, distance=distance, bandwidth=0.05) >= 0
