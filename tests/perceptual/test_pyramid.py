"""The Laplacian pyramid against SciPy's filters and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from losskit_perceptual.pyramid import (
    LaplacianPyramidLoss,
    laplacian_pyramid,
    laplacian_pyramid_loss,
)

_TAPS = np.array([1, 4, 6, 4, 1]) / 16


def _scipy_pyramid(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """Burt and Adelson's, on one channel; SciPy calls reflection without the edge "mirror"."""

    def blur(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, _TAPS, 0, mode="mirror"), _TAPS, 1, mode="mirror")

    bands = []
    for _ in range(levels - 1):
        small = blur(image)[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = small
        bands.append(image - 4 * blur(spread))
        image = small
    return [*bands, image]


@pytest.mark.parametrize("size", [(16, 16), (21, 30)])
def test_equals_scipy(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    ours = laplacian_pyramid(image, 4)
    theirs = _scipy_pyramid(image[1, 2].numpy(), 4)
    for band, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(band[1, 2], torch.from_numpy(expected))


def test_loss_sums_the_bands() -> None:
    pred, target = torch.rand(2, 1, 1, 16, 16, dtype=torch.float64)
    fake, real = (_scipy_pyramid(x[0, 0].numpy(), 3) for x in (pred, target))
    means = [np.abs(a - b).mean() for a, b in zip(fake, real, strict=True)]
    expected = means[0] + 2 * means[1] + 4 * means[2]
    assert float(laplacian_pyramid_loss(pred, target, levels=3, base=2)) == pytest.approx(expected)


def test_one_level_is_l1() -> None:
    pred, target = torch.rand(2, 2, 3, 7, 5)
    expected = torch.nn.functional.l1_loss(pred, target)
    torch.testing.assert_close(laplacian_pyramid_loss(pred, target, levels=1), expected)


def test_module_gradcheck_and_reduction() -> None:
    pred, target = torch.rand(2, 2, 1, 8, 8, dtype=torch.float64)
    loss = LaplacianPyramidLoss(levels=3, reduction="none")
    assert loss(pred, target).shape == (2,)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), pred.requires_grad_())


def test_errors_name_the_argument() -> None:
    image = torch.rand(1, 1, 8, 8)
    with pytest.raises(ValueError, match="levels=6 is too many"):
        laplacian_pyramid_loss(image, image, levels=6)
    with pytest.raises(ValueError, match="levels must be at least 1, not 0"):
        LaplacianPyramidLoss(levels=0)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_the_smallest_image_that_is_told_of_is_the_smallest_that_fits(levels: int) -> None:
    least = 2 ** (levels - 1) + 1 if levels > 1 else 1
    assert len(laplacian_pyramid(torch.rand(1, 3, least, 40), levels)) == levels
    if levels > 1:
        told = f"an image of 40x{least - 1} pixels: use sides of at least {least}, or fewer levels"
        with pytest.raises(ValueError, match=told):
            laplacian_pyramid(torch.rand(1, 3, least - 1, 40), levels)
