"""Random crops seen at an angle: what CLIPstyler shows to CLIP instead of the whole image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def perspective_patches(
    image: Float[Tensor, "b c h w"],
    count: int,
    size: int,
    *,
    distortion: float = 0.5,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n c size size"]:
    """Crop squares at random places and tilt each by a random perspective, differentiably.

    A crop's corners move inward by up to ``distortion / 2`` of its size; what lies outside the
    tilted crop is black (0). The distribution is that of torchvision's ``RandomCrop`` followed by
    ``RandomPerspective``.

    Args:
        image: any range; an image smaller than ``size`` is enlarged first.
        count: crops per image.
        size: of a crop, in pixels.
        distortion: 0 (plain crops) to 1.
        generator: where the places and angles come from, a CPU generator; by default torch's own.

    Returns:
        ``b * count`` crops; those of the first image come first.

    Raises:
        ValueError: ``count`` or ``size`` is not positive, or ``distortion`` is outside [0, 1].
    """
    check_patches(count, size, distortion)
    shorter = min(image.shape[-2:])
    if shorter < size:
        # Written out: a scale factor may round to one pixel too few.
        height, width = (max(size, round(side * size / shorter)) for side in image.shape[-2:])
        image = F.interpolate(image, (height, width), mode="bilinear", align_corners=False)
    batch, _, height, width = image.shape
    total = batch * count
    room = torch.tensor([width - size + 1, height - size + 1], device="cpu")
    offset = (torch.rand(total, 2, generator=generator, device="cpu") * room).floor()
    reach = distortion * size / 2
    inward = (torch.rand(total, 4, 2, generator=generator, device="cpu") * reach).floor()
    grid = _grid(_homographies(inward.double(), size), size) + offset.view(total, 1, 1, 2)
    # Black beyond the crop itself, not only beyond the image.
    inside = ((grid - offset.view(total, 1, 1, 2)) - (size - 1) / 2).abs() <= size / 2
    scale = torch.tensor([width, height], device="cpu")
    sampling = ((2 * grid + 1) / scale - 1).to(device=image.device, dtype=image.dtype)
    source = image.repeat_interleave(count, 0)
    crops = F.grid_sample(source, sampling, padding_mode="zeros", align_corners=False)
    return crops * inside.all(-1)[:, None].to(crops)


def check_patches(
    count: int, size: int, distortion: float, names: tuple[str, str] = ("count", "size")
) -> None:
    """Raise ``ValueError`` unless crops can be made so; ``names`` are what the caller calls them."""
    if not isinstance(count, int) or not isinstance(size, int) or count < 1 or size < 2:
        raise ValueError(
            f"{names[0]} and {names[1]} must be whole numbers of at least 1 and 2, not {count!r} and {size!r}"
        )
    if not 0 <= distortion <= 1:
        raise ValueError(f"distortion must lie in [0, 1], not {distortion!r}")


def _homographies(inward: Tensor, size: int) -> Tensor:
    """Maps that take a tilted crop's corners to the upright crop's, ``(n, 3, 3)``, in pixels."""
    end = float(size - 1)
    corners = inward.new_tensor([[0, 0], [end, 0], [end, end], [0, end]])
    signs = inward.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    tilted = corners + signs * inward
    upright = corners.expand_as(tilted)
    (x, y), (u, v) = tilted.unbind(-1), upright.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = torch.cat(
        [
            torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
            torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1),
        ],
        1,
    )
    solution = torch.linalg.solve(rows, torch.cat([u, v], 1))
    return torch.cat([solution, solution.new_ones(len(solution), 1)], 1).view(-1, 3, 3)


def _grid(maps: Tensor, size: int) -> Tensor:
    """Compute the sampling grid: each output pixel's position in its crop, ``(n, size, size, 2)``."""
    line = torch.arange(size, dtype=maps.dtype, device=maps.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    mapped = points @ maps.transpose(1, 2)
    return (mapped[..., :2] / mapped[..., 2:]).view(-1, size, size, 2)
