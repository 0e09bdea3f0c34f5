"""Random perspective crops against torchvision's crop and perspective."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from losskit_clip import perspective_patches
from losskit_clip.perspective import _homographies


def _places(
    total: int, size: int, image: torch.Tensor, distortion: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers that the function draws, in the order it draws them."""
    generator = torch.Generator().manual_seed(seed)
    room = torch.tensor([image.shape[-1] - size + 1, image.shape[-2] - size + 1])
    offset = (torch.rand(total, 2, generator=generator) * room).floor()
    inward = (torch.rand(total, 4, 2, generator=generator) * distortion * size / 2).floor()
    return offset.long(), inward


def test_plain_crops_are_cut_out() -> None:
    image = torch.rand(2, 3, 20, 30)
    patches = perspective_patches(
        image, 3, 8, distortion=0.0, generator=torch.Generator().manual_seed(0)
    )
    offset, _ = _places(6, 8, image, 0.0, 0)
    for index, (x, y) in enumerate(offset.tolist()):
        expected = image[index // 3, :, y : y + 8, x : x + 8]
        torch.testing.assert_close(patches[index], expected, atol=1e-5, rtol=1e-5)


def test_equals_torchvision() -> None:
    # Smooth, so that borders and rounding of the two samplers do not dominate.
    image = tv.gaussian_blur(torch.rand(1, 3, 60, 70), [21, 21], [5.0, 5.0])
    size, distortion = 32, 0.5
    patches = perspective_patches(
        image, 4, size, distortion=distortion, generator=torch.Generator().manual_seed(3)
    )
    offset, inward = _places(4, size, image, distortion, 3)
    end = size - 1
    corners = torch.tensor([[0, 0], [end, 0], [end, end], [0, end]])
    signs = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    for index, (x, y) in enumerate(offset.tolist()):
        crop = image[0, :, y : y + size, x : x + size]
        tilted = (corners + signs * inward[index]).long().tolist()
        expected = tv.perspective(crop, corners.tolist(), tilted, fill=0.0)
        inner = (expected > 0) & (patches[index] > 0)
        assert inner.float().mean() > 0.2
        difference = (patches[index] - expected)[inner].abs()
        assert difference.median() < 1e-3
        assert (
            (expected > 0) == (patches[index] > 0)
        ).float().mean() > 0.93  # edges are blended differently


def test_homography_takes_corner_to_corner() -> None:
    inward = torch.rand(5, 4, 2, dtype=torch.float64) * 4
    maps = _homographies(inward, 17)
    corners = torch.tensor([[0.0, 0], [16, 0], [16, 16], [0, 16]], dtype=torch.float64)
    signs = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    tilted = torch.cat([corners + signs * inward, torch.ones(5, 4, 1)], -1)
    mapped = tilted @ maps.transpose(1, 2)
    torch.testing.assert_close(mapped[..., :2] / mapped[..., 2:], corners.expand(5, 4, 2))


def test_small_images_are_enlarged_and_gradients_flow() -> None:
    image = torch.rand(1, 3, 5, 9, requires_grad=True)
    patches = perspective_patches(image, 4, 16)
    assert patches.shape == (4, 3, 16, 16)
    patches.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0, "size": 8}, "not 0 and 8"),
        ({"count": 1, "size": 1}, "not 1 and 1"),
        ({"count": 1, "size": 8, "distortion": 1.5}, r"\[0, 1\], not 1.5"),
    ],
)
def test_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        perspective_patches(torch.rand(1, 3, 8, 8), **options)  # type: ignore[arg-type]
