"""DISTS against torchmetrics and its authors' package, with the same weights."""

import copy
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from losskit.errors import RangeWarning
from losskit_perceptual import DISTS


def images(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(4)
    return [torch.rand(2, 3, 48, 40, dtype=dtype) for _ in range(2)]


def torchmetrics_dists(loss: DISTS) -> nn.Module:
    from torchmetrics.functional.image import dists

    class Vgg:
        features = copy.deepcopy(loss.backbone.network.features)

    with mock.patch.object(dists, "vgg16", return_value=Vgg):
        return dists.DISTSNetwork()


def authors_dists(loss: DISTS) -> nn.Module:
    from DISTS_pytorch import DISTS_pt

    class Vgg:
        features = copy.deepcopy(loss.backbone.network.features)

    with mock.patch.object(DISTS_pt.models, "vgg16", return_value=Vgg):
        return DISTS_pt.DISTS()


@pytest.mark.filterwarnings("ignore")  # of the packages compared with
@pytest.mark.parametrize("make", [torchmetrics_dists, authors_dists])
def test_equals_the_published_implementations(make: object) -> None:
    loss = DISTS(weights="random", reduction="none").double()
    reference = make(loss).double()
    pred, target = images(torch.float64)
    pred.requires_grad_()
    value = loss(pred, target)
    wanted = reference(pred, target, require_grad=True)
    # alpha and beta are float32 numbers that are divided by their sum.
    torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(value.sum(), pred)
    (expected,) = torch.autograd.grad(wanted.sum(), pred)
    scale = expected.abs().max()
    torch.testing.assert_close(gradient / scale, expected / scale, rtol=1e-4, atol=1e-4)


def test_equal_images_are_at_zero_without_a_gradient() -> None:
    loss = DISTS(weights="random")
    pred = images()[0].requires_grad_()
    value = loss(pred, pred.detach().clone())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(pred.grad).all()
    assert pred.grad.abs().max() < 1e-5


def test_it_brings_no_parameters_and_no_state() -> None:
    loss = DISTS(weights="random")
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}


def test_ranges_and_options() -> None:
    pred, target = images()
    torch.testing.assert_close(
        DISTS(weights="random", data_range=255)(pred * 255, target * 255),
        DISTS(weights="random")(pred, target),
    )
    with pytest.warns(RangeWarning, match="DISTS: pred holds"):
        DISTS(weights="random")(pred * 255, target)
    with pytest.raises(ValueError, match="weights of vgg16 must be"):
        DISTS(weights="imagenet21k")
