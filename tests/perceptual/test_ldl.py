"""LDL against an independent computation by loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from losskit_perceptual.ldl import LDLLoss, artifact_map, ldl_loss


def _loop_map(pred: np.ndarray, target: np.ndarray, ema: np.ndarray | None, n: int) -> np.ndarray:
    """The paper's equations, pixel by pixel, for one image ``(c, h, w)``."""
    residual = np.abs(target - pred).sum(0)
    padded = np.pad(residual, n // 2, mode="reflect")
    h, w = residual.shape
    result = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            result[y, x] = padded[y : y + n, x : x + n].var(ddof=1)
    result *= residual.var(ddof=1) ** 0.2
    if ema is not None:
        result[residual < np.abs(target - ema).sum(0)] = 0
    return result


@pytest.mark.parametrize("with_ema", [False, True])
def test_map_and_loss_equal_the_loops(with_ema: bool) -> None:
    pred, target, ema = torch.rand(3, 2, 3, 10, 13, dtype=torch.float64)
    average = ema if with_ema else None
    expected = np.stack(
        [
            _loop_map(pred[i].numpy(), target[i].numpy(), ema[i].numpy() if with_ema else None, 5)
            for i in range(2)
        ]
    )
    ours = artifact_map(pred, target, average, window_size=5)
    np.testing.assert_allclose(ours[:, 0].numpy(), expected, rtol=1e-10)
    loss = (expected[:, None] * np.abs((pred - target).numpy())).mean()
    assert float(ldl_loss(pred, target, average, window_size=5)) == pytest.approx(loss)


def test_gradient_goes_through_the_distance_alone() -> None:
    pred, target = torch.rand(2, 1, 3, 12, 12).unbind()
    pred = pred.requires_grad_()
    LDLLoss()(pred, target).backward()
    weight = artifact_map(pred, target)
    expected = weight * torch.sign(pred.detach() - target) / pred.numel()
    torch.testing.assert_close(pred.grad, expected)


def test_equal_images_cost_nothing() -> None:
    target = torch.rand(1, 3, 12, 12)
    pred = target.clone().requires_grad_()
    value = LDLLoss()(pred, target)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(pred.grad).all()


def test_errors_name_the_argument() -> None:
    image = torch.rand(1, 3, 12, 12)
    with pytest.raises(ValueError, match="window_size must be odd"):
        LDLLoss(window_size=4)
    with pytest.raises(ValueError, match="pred and ema must have one shape"):
        ldl_loss(image, image, image[:, :1])
