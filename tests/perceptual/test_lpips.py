"""LPIPS against lpips and torchmetrics with the same weights."""

import lpips as lpips_package
import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _NoTrainLpips

import losskit
from losskit.errors import RangeWarning, WeightsError
from losskit_perceptual import LPIPS, PerceptualLoss
from losskit_perceptual.lpips import NETS


def images(size: int = 64, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.rand(2, 3, size, size, dtype=dtype) for _ in range(2)]


def with_our_trunk(reference: nn.Module, loss: LPIPS) -> nn.Module:
    """Give another implementation our network's weights; its slices keep torchvision's indices."""
    state = loss.backbone.network.features.state_dict()
    with torch.no_grad():
        for part in getattr(reference.net, "slices", reference.net.children()):
            for index, layer in part.named_children():
                for name, parameter in layer.named_parameters():
                    parameter.copy_(state[f"{index}.{name}"])
    return reference.eval()


def reference_of(package: str, net: str, loss: LPIPS) -> nn.Module:
    if package == "lpips":
        made = lpips_package.LPIPS(net=net, pnet_rand=True, verbose=False)
    else:
        made = _NoTrainLpips(net=net, pnet_rand=True)
    return with_our_trunk(made, loss)


@pytest.mark.filterwarnings("ignore")  # of the packages compared with
@pytest.mark.parametrize("package", ["lpips", "torchmetrics"])
@pytest.mark.parametrize("net", list(NETS))
def test_equals_the_published_implementations(net: str, package: str) -> None:
    loss = LPIPS(net=net, weights="random", reduction="none")
    # In float64: in float32 a ReLU's input within rounding of 0 may let a gradient through or not.
    reference = reference_of(package, net, loss).double()
    pred, target = images(dtype=torch.float64)
    pred.requires_grad_()
    value = loss(pred, target)
    wanted = reference(pred * 2 - 1, target * 2 - 1).flatten()
    torch.testing.assert_close(value, wanted, rtol=1e-6, atol=1e-9)
    single = loss(pred.detach().float(), target.float())
    torch.testing.assert_close(single, wanted.float(), rtol=1e-4, atol=1e-7)
    (gradient,) = torch.autograd.grad(value.sum(), pred)
    (expected,) = torch.autograd.grad(wanted.sum(), pred)
    scale = expected.abs().max()
    torch.testing.assert_close(gradient / scale, expected / scale, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_map_is_the_published_one() -> None:
    loss = LPIPS(net="squeeze", weights="random", spatial=True, reduction="none")
    reference = reference_of("lpips", "squeeze", loss)
    reference.spatial = True
    pred, target = images()
    value = loss(pred, target)
    assert value.shape == (2, 1, 64, 64)
    torch.testing.assert_close(value, reference(pred * 2 - 1, target * 2 - 1), rtol=1e-3, atol=1e-6)


def test_heads_are_frozen_for_good_and_in_no_checkpoint() -> None:
    loss = LPIPS(net="squeeze", weights="random").train()
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    pred, target = images()
    assert torch.equal(loss(pred, target), loss(pred, target))  # no dropout
    assert loss.double()(pred.double(), target.double()).dtype == torch.float64


def test_gradient_at_equal_inputs_is_zero_and_not_nan() -> None:
    loss = LPIPS(net="squeeze", weights="random")
    pred, _ = images()
    for image in (pred, torch.zeros_like(pred)):
        leaf = image.clone().requires_grad_()
        loss(leaf, image).backward()
        assert not leaf.grad.any()


def test_a_range_in_minus_one_to_one_is_the_same_distance() -> None:
    pred, target = images()
    torch.testing.assert_close(
        LPIPS(net="squeeze", weights="random", data_range=(-1, 1))(pred * 2 - 1, target * 2 - 1),
        LPIPS(net="squeeze", weights="random")(pred, target),
        rtol=1e-4,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("data_range", "scale", "shift"), [((-1, 1), 1, 0), (1.0, 255, 0), (1.0, 2, -1)]
)
def test_the_wrong_range_is_told(data_range: object, scale: float, shift: float) -> None:
    loss = LPIPS(net="squeeze", weights="random", data_range=data_range)
    pred, target = (image * scale + shift for image in images())
    with pytest.warns(RangeWarning, match="LPIPS: (pred|target) holds values from"):
        loss(pred, target)
    loss(pred, target)


def test_a_mask_leaves_places_out() -> None:
    loss = LPIPS(net="squeeze", weights="random", reduction="none")
    pred, target = images()
    ones = torch.ones(2, 1, 64, 64)
    torch.testing.assert_close(loss(pred, target, ones), loss(pred, target))
    half = ones.clone()
    half[0] = 0
    assert loss(pred, target, half)[0] == 0


def test_one_vgg16_serves_perceptual_style_and_lpips() -> None:
    perceptual = PerceptualLoss(
        {"relu1_1": 1.0},
        layer_weights_style={"conv2_1": 1.0},
        vgg_type="vgg16",
        weights="random",
        norm_img=False,
    )
    lpips = LPIPS(net="vgg", weights="random")
    pred, target = images(32)
    pred.requires_grad_()
    start = lpips.backbone.passes
    with losskit.shared_features():
        together = perceptual(pred, target) + lpips(pred, target)
    together.backward()
    assert lpips.backbone.passes - start == 2
    alone = perceptual(pred, target.clone()) + lpips(pred, target.clone())
    torch.testing.assert_close(together, alone)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_it_compiles_without_a_break() -> None:
    loss = LPIPS(net="squeeze", weights="random")
    pred, target = images()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_wrong_options_are_told() -> None:
    with pytest.raises(
        ValueError, match="net must be one of 'alex', 'vgg', 'squeeze', not 'vgg19'"
    ):
        LPIPS(net="vgg19", weights="random")
    with pytest.raises(WeightsError, match=r"there is no weights file '/nowhere\.pth'"):
        LPIPS(net="squeeze", weights="random", heads="/nowhere.pth")
