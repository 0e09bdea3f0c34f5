"""What docs/migration.md says of other libraries, asked of them where they are installed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import losskit

PAGE = (Path(__file__).parent.parent / "docs" / "migration.md").read_text(encoding="utf-8")


def rows_of(library: str) -> str:
    """The tables under a heading."""
    (text,) = re.findall(rf"^## {library}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return str(text)


def test_basicsrs_total_variation_is_ours() -> None:
    """Its formula: the mean step down plus the mean step right, each over what the weight marks."""
    loss = losskit.build({"type": "MaskedTVLoss"})
    image = torch.tensor([[1.0, 4.0, 6.0], [3.0, 3.0, 0.0]])[None, None]
    # |1-3| + |4-3| + |6-0| = 9 of 3 pairs; |1-4| + |4-6| + |3-3| + |3-0| = 8 of 4 pairs
    assert loss({"pred": image}).item() == pytest.approx(9 / 3 + 8 / 4)
    assert loss({"pred": image.repeat(5, 3, 4, 1)[:, :, :2]}).item() == pytest.approx(5.0)
    mask = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[None, None]
    # down: |1-3| of 1 pair; right: |1-4| and |3-0| of 2 pairs
    assert loss({"pred": image, "mask": mask}).item() == pytest.approx(2 / 1 + 6 / 2)
    (row,) = [line for line in rows_of("BasicSR").splitlines() if "WeightedTVLoss" in line]
    assert "the same number" in row


@pytest.fixture(scope="module", params=["alex", "vgg", "squeeze"])
def other(request: pytest.FixtureRequest) -> nn.Module:
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net=request.param, pnet_rand=True, verbose=False)


def test_lpips_is_finite_at_equal_inputs_and_its_heads_train(other: nn.Module) -> None:
    """So the page may not say that it is not; what it says of the heads and the target is so."""
    assert "NaN" not in rows_of("lpips")
    for value in (torch.zeros(1, 3, 48, 48), torch.rand(1, 3, 48, 48)):
        pred = value.clone().requires_grad_()
        other(pred, value).sum().backward()
        assert pred.grad is not None
        assert pred.grad.isfinite().all()
    assert all(parameter.requires_grad for parameter in other.lins.parameters())
    other.train()
    assert other.lin0.model[0].training
    other.eval()


def test_lpips_pulls_at_both_images_and_ours_at_one(other: nn.Module) -> None:
    pred, target = (torch.rand(1, 3, 48, 48, requires_grad=True) for _ in range(2))
    other(pred, target).sum().backward()
    assert target.grad is not None
    target.grad = None
    ours = losskit.build({"type": "LPIPS", "net": other.pnet_type, "weights": "random"})
    ours({"pred": pred, "target": target}).backward()
    assert target.grad is None
    assert "into both images" in rows_of("lpips")


class _Two(nn.Sequential):
    """A convolution whose output an in-place ReLU overwrites, as in torchvision's VGG."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))


def test_piqs_rows() -> None:
    piq = pytest.importorskip("piq")
    assert "silently" not in rows_of("piq")
    with pytest.raises(AssertionError, match="mismatch"):
        piq.ContentLoss(_Two(), layers=["0", "1"], weights=[1.0])
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 8)
    loss = piq.ContentLoss(_Two(), layers=["0"], weights=[1.0])
    with torch.no_grad():
        (captured,) = loss.get_features(image)
        plain: Tensor = loss.model[0]((image - loss.mean) / loss.std)
    assert (plain < 0).any()
    torch.testing.assert_close(captured, plain.relu())  # named "0", the convolution
    features = torch.rand(1, 4, 5, 6)
    gram = piq.StyleLoss.gram_matrix(features)[0, 0]
    torch.testing.assert_close(gram, features[0].flatten(1) @ features[0].flatten(1).T)
    options = {"layers": ["0"], "weights": [1.0], "mean": [0.0] * 3, "std": [1.0] * 3}
    distance = piq.ContentLoss(nn.Sequential(nn.Identity()), **options)
    assert distance(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)).item() == 3  # of 3 channels
