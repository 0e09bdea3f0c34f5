"""Every loss of the plugin compiles without a graph break, trunk and all, to the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import losskit_perceptual as lp
from losskit.losses.base import Loss

LAYERS = {"relu1_2": 1.0, "relu2_1": 0.5}
VGG = {"backbone": "vgg11", "weights": "random"}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: lp.StyleLoss({"relu1_1": 1.0, "relu2_1": 1.0}, **VGG), id="style"),
        pytest.param(lambda: lp.ContextualLoss({"relu2_1": 1.0}, **VGG), id="contextual"),
        pytest.param(
            lambda: lp.ContextualLoss({"relu2_1": 1.0}, spatial_weight=0.1, chunk_size=50, **VGG),
            id="bilateral, in chunks",
        ),
        pytest.param(lambda: lp.DISTS(weights="random"), id="dists"),
        pytest.param(lp.FFTLoss, id="fft"),
        pytest.param(lp.FocalFrequencyLoss, id="focal frequency"),
        pytest.param(lambda: lp.LaplacianPyramidLoss(levels=3), id="pyramid"),
        pytest.param(lp.LDLLoss, id="ldl"),
        pytest.param(lambda: lp.SSIMLoss(data_range=1.0), id="ssim"),
    ],
)
def test_no_graph_break_and_the_same_gradient(make: Callable[[], Loss]) -> None:
    torch.manual_seed(0)
    pred, target = torch.rand(2, 3, 32, 32, requires_grad=True), torch.rand(2, 3, 32, 32)
    loss = make()
    wanted = loss(pred, target)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(pred, target)
    torch.testing.assert_close(compiled, wanted, rtol=1e-4, atol=1e-6)
    (expected,) = torch.autograd.grad(wanted, pred)
    (gradient,) = torch.autograd.grad(compiled, pred)
    assert (gradient - expected).norm() < 1e-3 * expected.norm()
