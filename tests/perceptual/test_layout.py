"""Maps have their channels behind the batch, wherever a network keeps them."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from losskit_perceptual import FeatureDistance, PerceptualLoss, gram_matrix
from losskit_perceptual.networks.graph import as_feature_network
from losskit_perceptual.networks.layout import Layout


def small_swin() -> nn.Module:
    options = {"num_classes": 0, "embed_dim": 16, "img_size": 64, "window_size": 4}
    return timm.create_model(
        "swin_tiny_patch4_window7_224", depths=(1, 1), num_heads=(1, 2), **options
    )


def torchvisions_swin() -> nn.Module:
    return models.SwinTransformer([4, 4], 16, [1, 1], [1, 2], [4, 4])


def convnext() -> nn.Module:
    return timm.create_model("convnext_atto", num_classes=0, depths=(1,) * 4, dims=(16, 32, 48, 64))


@pytest.mark.parametrize(
    ("build", "layer", "shape"),
    [
        # 16 channels on 16x16 places: nothing in the shape tells which is which.
        (small_swin, "layers.0", (2, 16, 16, 16)),
        (small_swin, "layers.1", (2, 32, 8, 8)),
        (torchvisions_swin, "features.1", (2, 16, 16, 16)),
        (torchvisions_swin, "features.3", (2, 32, 8, 8)),
        (convnext, "stages.0", (2, 16, 16, 16)),
        (convnext, "stages.1", (2, 32, 8, 8)),
    ],
)
def test_maps_are_what_the_network_itself_shows(
    build: Callable[[], nn.Module], layer: str, shape: tuple[int, ...]
) -> None:
    model = build().eval()
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o))
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        model(image)
    handle.remove()
    network = as_feature_network(model)
    (found,) = network(image, (network.resolve(layer),))
    assert found.shape == shape
    expected = seen[0] if build is convnext else seen[0].permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("image", "features", "moved"),
    [
        ((64, 96), (2, 16, 24, 48), True),
        ((64, 96), (2, 48, 16, 24), False),
        ((63, 95), (2, 16, 24, 48), True),  # padded
        ((63, 95), (2, 48, 15, 23), False),
        ((64, 96), (2, 24, 16, 24), False),
        ((32, 32), (2, 1, 1, 48), True),
        ((32, 32), (2, 48, 1, 1), False),
        ((32, 32), (2, 17, 48), False),
    ],
)
def test_the_images_shape_tells(
    image: tuple[int, int], features: tuple[int, ...], moved: bool
) -> None:
    layout = Layout(nn.LayerNorm(3))
    value = torch.rand(features)
    found = layout(torch.rand(2, 3, *image), value)
    assert torch.equal(found, value.permute(0, 3, 1, 2) if moved else value)


def test_style_and_unit_length_are_over_channels_and_masks_over_places() -> None:
    network = small_swin().eval()
    style = PerceptualLoss({"layers.1": 1.0}, perceptual_weight=0, backbone=network, data_range=1.0)
    unit = FeatureDistance(backbone=network, layers=("layers.1",))
    torch.manual_seed(0)
    pred, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    fake, real = (network.layers(network.patch_embed(x)) for x in (pred, target))  # b h w c
    grams = [torch.einsum("bhwc,bhwd->bcd", f, f) / f[0].numel() for f in (fake, real)]
    torch.testing.assert_close(style(pred, target), (grams[0] - grams[1]).abs().mean())
    assert gram_matrix(unit.backbone.features(pred)["layers.1"]).shape == (2, 32, 32)
    cosine = torch.cosine_similarity(fake, real, dim=-1)
    torch.testing.assert_close(unit(pred, target), (2 - 2 * cosine).mean())
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., :32] = 1
    wanted = (2 - 2 * cosine)[:, :, :4].mean()
    torch.testing.assert_close(unit(pred, target, mask), wanted)
