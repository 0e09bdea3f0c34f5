"""Bring faces to where a face network expects them: a fixed crop, or a similarity transform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Eyes, nose, corners of the mouth in ArcFace's 112x112 training crops, as (x, y) in pixels.
ARCFACE_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
_TEMPLATE_SIZE = 112
_MAX_SUPERSAMPLING = 8


def crop_faces(image: Float[Tensor, "b c h w"], size: int = 112) -> Float[Tensor, "b c size size"]:
    """The fixed crop of pSp and MMagic, for images aligned as FFHQ's are.

    Average-pooled to 256x256, cut to rows 35 to 223 and columns 32 to 220, pooled to ``size``.

    Args:
        image: any size; square ones keep their proportions.
        size: what the face network takes.
    """
    if image.shape[-2:] != (256, 256):
        image = F.adaptive_avg_pool2d(image, 256)
    return F.adaptive_avg_pool2d(image[..., 35:223, 32:220], size)


def similarity_transform(
    source: Float[Tensor, "b n 2"], target: Float[Tensor, "n 2"]
) -> Float[Tensor, "b 2 3"]:
    r"""The rotation, scale and shift that bring points closest to others, in the least-squares sense.

    In two dimensions a similarity is multiplication and addition of complex numbers,
    $z \mapsto a z + b$ with $a = \sum \bar s_k t_k / \sum |s_k|^2$ of the centred points; it never
    mirrors.

    Args:
        source: points (x, y).
        target: where they should go.

    Returns:
        Matrices that take ``(x, y, 1)`` of the source to the target.

    References:
        Umeyama, TPAMI 1991, doi:10.1109/34.88573.
    """
    target = target.to(source).expand_as(source)
    s_mean, t_mean = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    (sx, sy), (tx, ty) = (source - s_mean).unbind(-1), (target - t_mean).unbind(-1)
    norm = (sx**2 + sy**2).sum(-1).clamp_min(torch.finfo(source.dtype).tiny)
    real = (sx * tx + sy * ty).sum(-1) / norm
    imaginary = (sx * ty - sy * tx).sum(-1) / norm
    linear = torch.stack(
        [torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], -2
    )
    shift = t_mean.transpose(1, 2) - linear @ s_mean.transpose(1, 2)
    return torch.cat([linear, shift], -1)


def align_faces(
    image: Float[Tensor, "b c h w"], landmarks: Float[Tensor, "b 5 2"], size: int = 112
) -> Float[Tensor, "b c size size"]:
    """Turn, scale and shift faces onto ArcFace's template, differentiably in the image.

    Large faces are sampled finely and averaged, so that shrinking does not alias. What lies beyond
    the image repeats its border.

    Args:
        image: any size and range; receives gradients.
        landmarks: eyes, nose, corners of the mouth as pixels (x, y), from
            `face_landmarks`.
        size: of the result, 112 for ArcFace; the template is scaled to it.

    Raises:
        ValueError: the landmarks' shape does not fit, or they are no five places.
        TypeError: ``image`` or ``landmarks`` is no floating-point tensor.
    """
    for name, value in (("image", image), ("landmarks", landmarks)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} must be a floating-point tensor, not {kind}")
    if landmarks.shape != (len(image), 5, 2):
        raise ValueError(
            f"landmarks must have the shape {(len(image), 5, 2)}, not {tuple(landmarks.shape)}"
        )
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size!r}")
    if not bool(landmarks.isfinite().all() & (landmarks.std(1).sum(-1) > 0).all()):
        raise ValueError(
            "landmarks must be finite and no single point: face_landmarks gives NaN where there is "
            "no face"
        )
    matrix = face_matrix(landmarks, size)
    return sample_faces(image, matrix, size, supersampling(matrix))


def face_matrix(landmarks: Float[Tensor, "b 5 2"], size: int) -> Float[Tensor, "b 2 3"]:
    """Compute where the pixels of aligned faces lie in the image, as matrices in float64 on the CPU."""
    points = landmarks.detach().to(device="cpu", dtype=torch.float64)
    # Pixel centres at +0.5, so that the template scales about the corner, not about pixel 0.
    template = (points.new_tensor(ARCFACE_TEMPLATE) + 0.5) / _TEMPLATE_SIZE * size
    forth = similarity_transform(points + 0.5, template)
    linear = torch.linalg.inv(forth[:, :, :2])
    return torch.cat([linear, -linear @ forth[:, :, 2:]], -1)


def supersampling(matrix: Float[Tensor, "b 2 3"]) -> tuple[int, ...]:
    """Compute how many samples a side each pixel of a face takes, so that shrinking does not alias.

    One number per face: what else is in the batch must not change a face.
    """
    shrink = matrix[:, :, :2].det().abs().sqrt().tolist()
    return tuple(min(_MAX_SUPERSAMPLING, max(1, math.ceil(one - 0.1))) for one in shrink)


def sample_faces(
    image: Float[Tensor, "b c h w"],
    matrix: Float[Tensor, "b 2 3"],
    size: int,
    factors: Sequence[int],
) -> Float[Tensor, "b c size size"]:
    """Cut faces out along ``face_matrix``, each with its factor's samples a side per pixel."""
    if len(set(factors)) <= 1:
        return _sample(image, matrix, size, factors[0] if factors else 1)
    groups = [
        [i for i, factor in enumerate(factors) if factor == wanted]
        for wanted in sorted(set(factors))
    ]
    parts = [_sample(image[group], matrix[group], size, factors[group[0]]) for group in groups]
    order = [i for group in groups for i in group]
    return torch.cat(parts)[[order.index(i) for i in range(len(order))]]


def _sample(image: Tensor, matrix: Tensor, size: int, factor: int) -> Tensor:
    height, width = image.shape[-2:]
    extent = matrix.new_tensor([width, height])
    to_unit = (2 * matrix / extent[:, None]).to(image)  # grid_sample's coordinates: -1 to 1
    line = (torch.arange(size * factor, dtype=image.dtype, device=image.device) + 0.5) / factor
    # Term by term: under autocast a matrix product would round places to whole pixels.
    along_x, along_y, shift = to_unit[:, None, None].unbind(-1)
    grid = along_x * line[:, None] + along_y * line[:, None, None] + shift - 1
    faces = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return faces if factor == 1 else F.avg_pool2d(faces, factor)
