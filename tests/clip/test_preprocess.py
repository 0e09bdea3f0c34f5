"""Preprocessing against open_clip's own evaluation transform and StyleCLIP's two layers."""

from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import nn

from losskit_clip import ClipPreprocess, StyleClipPreprocess


# To sizes that are not square, open_clip's own transform takes PIL images only, but for "squash".
@pytest.mark.parametrize(
    ("mode", "target"),
    [
        ("shortest", (224, 224)),
        ("longest", (224, 224)),
        ("squash", (224, 224)),
        ("squash", (32, 48)),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (300, 224), (223, 301), (37, 53), (500, 400)])
def test_equals_open_clip(mode: str, size: tuple[int, int], target: tuple[int, int]) -> None:
    config = PreprocessCfg(size=target, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), resize_mode=mode)
    if mode == "longest":
        theirs = _longest(config)
    else:
        theirs = image_transform_v2(config, is_train=False)
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([theirs(sample) for sample in image])
    ours = ClipPreprocess.from_config(vars(config))(image)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def _longest(config: PreprocessCfg) -> nn.Module:
    """open_clip resizes by PIL's size attribute here; the same with torchvision on tensors."""
    from torchvision.transforms import v2

    class Longest(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            height, width = image.shape[-2:]
            ratio = max(height / config.size[0], width / config.size[1])
            resized = v2.functional.resize(
                image,
                [round(height / ratio), round(width / ratio)],
                interpolation=v2.InterpolationMode.BICUBIC,
                antialias=True,
            )
            padded = open_clip.transform.center_crop_or_pad(resized, list(config.size), fill=0)
            return v2.functional.normalize(padded, list(config.mean), list(config.std))

    return Longest()


def test_range_is_mapped_and_gradients_reach_every_pixel() -> None:
    image = torch.rand(1, 3, 40, 40, requires_grad=True)
    unit, signed = ClipPreprocess(size=(32, 32)), ClipPreprocess(size=(32, 32), low=-1.0)
    torch.testing.assert_close(signed(image * 2 - 1), unit(image), atol=1e-5, rtol=1e-5)
    unit(image).square().sum().backward()
    assert image.grad is not None
    assert (image.grad != 0).all()


@pytest.mark.parametrize("size", [32, 256, 1024])
def test_styleclip_is_its_two_layers(size: int) -> None:
    image = torch.rand(1, 3, size, size)
    expected = nn.AvgPool2d(size * 7 // 224)(nn.Upsample(scale_factor=7)(image))
    torch.testing.assert_close(StyleClipPreprocess()(image), expected)


def test_styleclip_refuses_sizes_that_do_not_pool() -> None:
    with pytest.raises(ValueError, match=r"makes 56x56 of an image of 256x256 with in_size=1024"):
        StyleClipPreprocess(in_size=1024)(torch.rand(1, 3, 256, 256))
