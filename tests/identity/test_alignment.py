"""The fixed crop, similarity transforms against scikit-image's, and MTCNN on a real photograph."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data, transform
from torch import nn

from losskit_identity import align_faces, crop_faces, face_landmarks, similarity_transform
from losskit_identity.alignment import ARCFACE_TEMPLATE


@pytest.fixture(scope="module")
def astronaut() -> torch.Tensor:
    return torch.tensor(data.astronaut()).permute(2, 0, 1)[None, :, :300, 50:350] / 255


def test_crop_is_psps() -> None:
    image = torch.rand(1, 3, 300, 300)
    pooled = nn.AdaptiveAvgPool2d((256, 256))(image)[:, :, 35:223, 32:220]
    torch.testing.assert_close(crop_faces(image), nn.AdaptiveAvgPool2d((112, 112))(pooled))
    plain = torch.rand(1, 3, 256, 256)
    expected = F.adaptive_avg_pool2d(plain[:, :, 35:223, 32:220], 160)
    torch.testing.assert_close(crop_faces(plain, 160), expected)


def test_similarity_equals_scikit_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        source, target = rng.normal(size=(5, 2)) * 30, rng.normal(size=(5, 2)) * 30
        theirs = transform.SimilarityTransform()
        theirs = (
            theirs.from_estimate(source, target) if hasattr(theirs, "from_estimate") else theirs
        )
        ours = similarity_transform(torch.tensor(source)[None], torch.tensor(target))
        np.testing.assert_allclose(ours[0].numpy(), theirs.params[:2], atol=1e-8)


def test_align_equals_scikit_images_warp(astronaut: torch.Tensor) -> None:
    # Of the size of the template, so that neither side has to shrink the picture.
    points = torch.tensor(ARCFACE_TEMPLATE) * 1.02 + torch.tensor([90.0, 60.0])
    ours = align_faces(astronaut, points[None])[0].permute(1, 2, 0).numpy()
    matrix = transform.SimilarityTransform.from_estimate(np.array(ARCFACE_TEMPLATE), points.numpy())
    theirs = transform.warp(
        astronaut[0].permute(1, 2, 0).double().numpy(), matrix, output_shape=(112, 112), order=1
    )
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


@pytest.mark.parametrize(
    ("angle", "scale", "shift"),
    [(0.0, 1.0, (12, -7)), (12.0, 1.0, (0, 0)), (-10.0, 1.15, (8, 5)), (8.0, 0.85, (-6, 10))],
)
def test_moved_copies_align_to_the_same_crop(
    astronaut: torch.Tensor, angle: float, scale: float, shift: tuple[int, int]
) -> None:
    """MTCNN's landmarks are within 2 pixels; the crops' mean error is below 0.05 of the range.

    With the true landmarks it is below 0.01: the rest is the detector's.
    """
    original = astronaut[0].permute(1, 2, 0).double().numpy()
    centre = np.array([175.0, 120.0])  # about the face
    matrix = (
        transform.SimilarityTransform(translation=-centre)
        + transform.SimilarityTransform(scale=scale, rotation=math.radians(angle))
        + transform.SimilarityTransform(translation=centre + np.array(shift))
    )
    moved = transform.warp(original, matrix.inverse, order=3, mode="edge").clip(0, 1)
    copy = torch.tensor(moved).permute(2, 0, 1)[None].float()
    both = torch.cat([astronaut, copy])
    points = face_landmarks(both, data_range=1.0)
    assert points.isfinite().all()
    true = torch.tensor(matrix(points[0].numpy()))
    off = (points[1] - true).norm(dim=-1).mean()
    first, second = align_faces(both, points)
    error = (first - second).abs().mean()
    true_error = (first - align_faces(copy, true[None])[0]).abs().mean()
    unaligned = (align_faces(copy, points[:1])[0] - first).abs().mean()
    assert off < 2.0
    assert true_error < 0.01
    assert error < 0.05
    assert error < 0.5 * unaligned


def test_gradients_reach_the_face_and_large_faces_do_not_alias() -> None:
    image = torch.rand(1, 1, 480, 480, requires_grad=True)
    points = torch.tensor(ARCFACE_TEMPLATE)[None] * 4 + 16
    align_faces(image, points).sum().backward()
    assert image.grad is not None
    face = image.grad[0, 0, 40:440, 40:440]
    assert (face > 0).float().mean() > 0.99  # every pixel of the face counts
    noise = torch.rand(1, 1, 480, 480)
    assert align_faces(noise, points).std() < 0.6 * noise.std()


def test_a_face_does_not_depend_on_the_others_of_its_batch() -> None:
    """Faces of 1, 3, 2 and again 3 times the template's size, in that order."""
    image = torch.rand(4, 2, 400, 400, requires_grad=True)
    scales = torch.tensor([1.0, 3.0, 2.0, 3.0])[:, None, None]
    points = torch.tensor(ARCFACE_TEMPLATE) * scales + 20
    together = align_faces(image, points)
    alone = torch.cat([align_faces(image[i : i + 1], points[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    upstream = torch.rand_like(together)
    ours, theirs = (torch.autograd.grad(x, image, upstream)[0] for x in (together, alone))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_the_template_is_scaled_to_the_size(astronaut: torch.Tensor) -> None:
    """A face of 160 shows what one of 112 shows, only larger: pixel centres map as in resizing."""
    smooth = F.avg_pool2d(astronaut, 9, 1, 4)  # so that sampling it coarsely loses nothing
    points = torch.tensor(ARCFACE_TEMPLATE)[None] + 80
    small, large = align_faces(smooth, points), align_faces(smooth, points, 160)
    resized = F.interpolate(small, size=(160, 160), mode="bilinear", align_corners=False)
    inner = (..., slice(3, -3), slice(3, -3))
    assert (large - resized)[inner].abs().mean() < 2e-3
    shifted = F.interpolate(small.roll(1, -1), size=(160, 160), mode="bilinear")
    assert (large - shifted)[inner].abs().mean() > 5e-3  # the bound is far below one pixel


def test_no_face_is_nan() -> None:
    cat = torch.tensor(data.chelsea()).permute(2, 0, 1)[None] / 255
    assert face_landmarks(cat, data_range=1.0).isnan().all()
    assert face_landmarks(torch.zeros(2, 3, 8, 8), data_range=1.0).shape == (2, 5, 2)


def test_the_largest_face_is_taken(astronaut: torch.Tensor) -> None:
    """Her face, and beside it a smaller copy that the detector is surer of: it has no noise."""
    noise = torch.randn(astronaut.shape, generator=torch.Generator().manual_seed(0))
    large = (astronaut + 0.2 * noise).clamp(0, 1)
    small = F.pad(F.interpolate(astronaut, scale_factor=0.7, mode="bilinear"), (45, 45, 45, 45))
    one = face_landmarks(large, data_range=1.0)
    right = face_landmarks(torch.cat([small, large], 3), data_range=1.0)
    left = face_landmarks(torch.cat([large, small], 3), data_range=1.0)
    assert (left - one).abs().max() < 6
    assert (right - one - torch.tensor([300.0, 0.0])).abs().max() < 6


def test_landmarks_must_fit() -> None:
    with pytest.raises(
        ValueError, match=r"landmarks must have the shape \(2, 5, 2\), not \(1, 5, 2\)"
    ):
        align_faces(torch.rand(2, 3, 8, 8), torch.rand(1, 5, 2))
    image, points = torch.rand(1, 3, 8, 8), torch.rand(1, 5, 2)
    with pytest.raises(ValueError, match="finite and no single point: face_landmarks gives NaN"):
        align_faces(image, points * torch.nan)
    with pytest.raises(ValueError, match="no single point"):
        align_faces(image, torch.ones(1, 5, 2))
    with pytest.raises(ValueError, match="size must be at least 1, not 0"):
        align_faces(image, points, 0)
    with pytest.raises(TypeError, match=r"image must be a floating-point tensor, not torch\.uint8"):
        align_faces(image.byte(), points)
    with pytest.raises(ValueError, match=r"image must have the shape \(b, 3, h, w\)"):
        face_landmarks(image[0])


def test_autocast_moves_nothing(astronaut: torch.Tensor) -> None:
    points = torch.tensor(ARCFACE_TEMPLATE)[None] * 1.3 + 60
    with torch.autocast("cpu", torch.bfloat16):
        rounded = align_faces(astronaut, points)
    torch.testing.assert_close(rounded, align_faces(astronaut, points), atol=1e-6, rtol=0)


def test_no_images_have_no_landmarks() -> None:
    assert face_landmarks(torch.zeros(0, 3, 32, 32)).shape == (0, 5, 2)
