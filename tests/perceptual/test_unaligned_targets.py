"""Style and contextual targets of another size, and one for a whole batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import losskit
from losskit.backbones import InputNorm
from losskit.errors import ImageTooSmallError
from losskit_perceptual import (
    ContextualLoss,
    PerceptualLoss,
    StyleLoss,
    contextual_loss,
    style_distance,
)

LAYERS = {"relu1_1": 1.0, "conv2_1": 0.5}
HOW: dict[str, Any] = {"weights": "random", "data_range": 1.0}


def style_losses(**more: Any) -> list[losskit.Loss]:
    """What compares style and nothing else."""
    return [
        StyleLoss(LAYERS, backbone="vgg11", **HOW, **more),
        PerceptualLoss(LAYERS, vgg_type="vgg11", perceptual_weight=0, **HOW, **more),
    ]


def value_and_gradient(loss: losskit.Loss, pred: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    pred = pred.detach().clone().requires_grad_()
    value = loss(pred, *inputs)
    return value.detach(), torch.autograd.grad(value.sum(), pred)[0]


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("criterion", ["l1", "mse"])
@pytest.mark.parametrize("masked", [False, True])
def test_one_style_is_that_of_the_whole_batch(reduction, criterion, masked) -> None:
    pred, style = torch.rand(3, 3, 16, 18), torch.rand(1, 3, 16, 18)
    masks = (torch.rand(3, 1, 16, 18),) if masked else ()
    for loss in style_losses(reduction=reduction, criterion=criterion):
        found = value_and_gradient(loss, pred, style, *masks)
        expected = value_and_gradient(loss, pred, style.repeat(3, 1, 1, 1), *masks)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_style_of_another_size_is_compared_by_its_gram_matrices(batch: int) -> None:
    pred, style = torch.rand(3, 3, 16, 18), torch.rand(batch, 3, 25, 11)
    losses = style_losses()
    features = copy.deepcopy(losses[0].backbone.network.features)

    def by_hand(image: Tensor) -> list[Tensor]:
        image = InputNorm.imagenet()(image)
        found = (features[:2](image), features[:4](image))
        return [torch.einsum("bchw,bdhw->bcd", x, x) / x[0].numel() for x in found]

    for loss in losses:
        value, gradient = value_and_gradient(loss, pred, style)
        own = pred.clone().requires_grad_()
        expected = sum(
            weight * F.l1_loss(a, b.expand_as(a))
            for weight, a, b in zip(LAYERS.values(), by_hand(own), by_hand(style), strict=True)
        )
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-7)
        (wanted,) = torch.autograd.grad(expected, own)
        scale = wanted.abs().max()
        torch.testing.assert_close(gradient / scale, wanted / scale, rtol=1e-3, atol=1e-4)


def test_a_tiled_style_is_the_same_style() -> None:
    features = {"x": torch.rand(2, 4, 3, 5)}
    tiled = {"x": features["x"].repeat(1, 1, 2, 3)}
    assert float(style_distance(features, tiled, {"x": 1.0})) == pytest.approx(0, abs=1e-6)


def test_a_fixed_style_is_run_once_and_shared() -> None:
    first, second = style_losses()
    pred, style = torch.rand(3, 3, 16, 18, requires_grad=True), torch.rand(1, 3, 25, 11)
    before = first.backbone.passes
    for _ in range(3):
        with losskit.shared_features():
            first(pred, style) + second(pred, style)
    assert first.backbone.passes - before == 4  # the style once, the batch three times
    changed = style.clone()
    torch.testing.assert_close(first(pred, changed), first(pred, style))
    style.mul_(0.5)
    torch.testing.assert_close(first(pred, style), first(pred, style.clone()))
    assert first(pred, style) != first(pred, changed)


def test_content_and_style_of_two_sizes_in_an_objective() -> None:
    objective = losskit.Objective(
        [
            dict(
                type="PerceptualLoss",
                vgg_type="vgg11",
                layer_weights={"conv2_1": 1.0},
                style_weight=0,
                **HOW,
            ),
            dict(
                type="StyleLoss",
                backbone="vgg11",
                layer_weights=LAYERS,
                data_info={"pred": "pred", "target": "style"},
                **HOW,
            ),
        ]
    )
    pred = torch.rand(2, 3, 16, 18, requires_grad=True)
    out = objective(pred=pred, target=torch.rand(2, 3, 16, 18), style=torch.rand(1, 3, 31, 20))
    out.total.backward()
    assert torch.isfinite(pred.grad).all()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiles_without_a_break() -> None:
    pred, style = torch.rand(2, 3, 16, 18, requires_grad=True), torch.rand(1, 3, 20, 12)
    (loss, _) = style_losses()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pred, style), loss(pred, style))


def test_what_compares_places_takes_one_shape_only() -> None:
    pred, small = torch.rand(2, 3, 16, 18), torch.rand(2, 3, 16, 17)
    loss = PerceptualLoss(LAYERS, vgg_type="vgg11", **HOW)
    for target in (small, pred[:1]):
        with pytest.raises(ValueError, match="pred and target must have one shape"):
            loss(pred, target)
    for style in style_losses():
        with pytest.raises(ValueError, match=r"mask counts the same places .*of pred's size"):
            style(pred, small, torch.ones(2, 1, 16, 18))
        with pytest.raises(ValueError, match="target must hold one image, or one for each of"):
            style(pred, torch.rand(3, 3, 16, 18))
        with pytest.raises(ValueError, match=r"target must have the shape \(b, 3, h, w\)"):
            style(pred, pred[:, :1])
        with pytest.raises(TypeError, match="target must be a tensor, not NoneType"):
            style(pred, None)


@pytest.mark.parametrize("loss", [StyleLoss, ContextualLoss])
def test_images_of_other_kinds_are_refused(loss) -> None:
    loss = loss({"relu2_1": 1.0}, backbone="vgg11", **HOW)
    image = torch.rand(2, 3, 16, 18)
    for wrong in (image.to(torch.uint8), image.to(torch.int64), "image.png"):
        with pytest.raises(TypeError, match=r"target must be a .*tensor, not"):
            loss(image, wrong)
        with pytest.raises(TypeError, match=r"pred must be a .*tensor, not"):
            loss(wrong, image)


def test_a_style_too_small_for_the_network_is_told() -> None:
    loss = StyleLoss({"relu5_1": 1.0}, backbone="vgg11", **HOW)
    with pytest.raises(ImageTooSmallError, match="StyleLoss: target: an image of 2x40"):
        loss(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 2, 40))


# --- contextual ------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("chunk_size", [1024, 5])
@pytest.mark.parametrize("spatial_weight", [0.0, 0.1])
def test_one_contextual_target_is_that_of_the_batch(distance, chunk_size, spatial_weight) -> None:
    pred, target = torch.rand(3, 4, 5, 3), torch.rand(1, 4, 2, 6)
    options = {"distance": distance, "chunk_size": chunk_size, "spatial_weight": spatial_weight}

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return contextual_loss(x, y, reduction="none", **options)

    found = value_and_gradient(loss, pred, target)
    torch.testing.assert_close(found, value_and_gradient(loss, pred, target.repeat(3, 1, 1, 1)))


def test_a_contextual_loss_of_two_sizes() -> None:
    loss = ContextualLoss({"relu2_1": 1.0}, backbone="vgg11", **HOW)
    pred = torch.rand(2, 3, 16, 18, requires_grad=True)
    loss(pred, torch.rand(1, 3, 22, 12)).backward()
    assert pred.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="target must have pred's channels, and its batch or 1"):
        contextual_loss(torch.rand(2, 4, 3, 3), torch.rand(2, 5, 3, 3))
