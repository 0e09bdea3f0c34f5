"""Grids of samples and interpolations between latents, as PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from losskit_train.config.training import TrainConfig
    from losskit_train.data.samples import Samples


def grid(
    images: Float[Tensor, "n c h w"], *, columns: int, gap: int = 2
) -> Float[Tensor, "c rows columns"]:
    """Lay images out in rows, white between them.

    Args:
        images: in [0, 1].
        columns: images per row.
        gap: pixels between two images.
    """
    n, c, h, w = images.shape
    rows = -(-n // columns)
    sheet = images.new_ones(c, rows * (h + gap) - gap, columns * (w + gap) - gap)
    for index, image in enumerate(images):
        top, left = index // columns * (h + gap), index % columns * (w + gap)
        sheet[:, top : top + h, left : left + w] = image
    return sheet


def save_png(image: Float[Tensor, "c h w"], path: Path) -> None:
    """Write an image in [0, 1], grey or RGB; folders are made."""
    from PIL import Image

    pixels = (
        image.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


def unit_range(images: Tensor, value_range: Sequence[float]) -> Tensor:
    """Images of ``value_range`` in [0, 1]."""
    low, high = value_range
    return ((images.float() - low) / (high - low)).clamp(0, 1)


def slerp(
    start: Float[Tensor, " d"], end: Float[Tensor, " d"], steps: int
) -> Float[Tensor, " n d"]:
    """Points on the great circle between two latents, where a Gaussian has its mass.

    White, Sampling Generative Networks, arXiv:1609.04468.

    Args:
        start: the first point.
        end: the last one.
        steps: points in all, at least 2.
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, not {steps!r}")
    cosine = F.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[:, None]
    if angle.sin().abs() < 1e-6:  # parallel: the circle is not defined, the line is
        return start + t * (end - start)
    return (((1 - t) * angle).sin() * start + (t * angle).sin() * end) / angle.sin()


@torch.no_grad()
def run(generator: nn.Module, arguments: Sequence[Tensor], *, seed: int) -> Tensor:
    """A generator's images, in eval mode, without touching the training's random state."""
    training = generator.training
    devices = [arguments[0].device] if arguments[0].is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        output: Any = generator.eval()(*arguments)
    generator.train(training)
    if isinstance(output, dict):
        output = output["fake_img"]
    images: Tensor = output[0] if isinstance(output, tuple) else output
    return images


def noise(count: int, latent_dim: int, *, seed: int, device: torch.device | None = None) -> Tensor:
    """The same noise for the same seed, whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, latent_dim, generator=generator).to(device)


def between(latent_dim: int, *, rows: int, columns: int, seed: int) -> Float[Tensor, "n d"]:
    """Points on ``rows`` paths between two latents each, ``columns`` points on each path."""
    ends = noise(2 * rows, latent_dim, seed=seed)
    return torch.cat([slerp(ends[2 * row], ends[2 * row + 1], columns) for row in range(rows)])


def interpolation(
    generator: nn.Module, latent_dim: int, *, rows: int, columns: int, seed: int
) -> Tensor:
    """Images along ``rows`` paths of ``columns`` points each, ``(rows * columns, c, h, w)``."""
    points = between(latent_dim, rows=rows, columns=columns, seed=seed)
    return run(generator, [points.to(next(generator.parameters()).device)], seed=seed)


def preview(
    generator: nn.Module,
    samples: Samples,
    config: TrainConfig,
    *,
    latent_dim: int | None,
    device: torch.device,
) -> Float[Tensor, "c rows columns"]:
    """The grid of a run: generated images, or rows of input, output and truth.

    Args:
        generator: the network to show.
        samples: where inputs are taken from, always the same ones.
        config: the run's.
        latent_dim: length of noise vectors.
        device: the generator's.
    """
    count, seed = config.logging.samples, config.seed
    if config.model.inputs == ["noise"]:
        assert latent_dim is not None
        images = run(generator, [noise(count, latent_dim, seed=seed, device=device)], seed=seed)
        return grid(unit_range(images, config.data.value_range), columns=math.isqrt(count - 1) + 1)
    count = min(count, 8)
    items = [samples[position] for position in range(count)]
    keys = items[0].keys() - {"skipped"}
    batch = {key: torch.stack([item[key] for item in items]).to(device) for key in keys}
    if "noise" in config.model.inputs:
        assert latent_dim is not None
        batch["noise"] = noise(count, latent_dim, seed=seed, device=device)
    output = run(generator, [batch[name] for name in config.model.inputs], seed=seed)
    truth = batch["real_imgs"]
    if config.model.compose:
        output = output * batch["mask"] + truth * (1 - batch["mask"])
    shown = [F.interpolate(batch["lq"], size=truth.shape[-2:])] if "lq" in batch else []
    rows = [unit_range(row, config.data.value_range) for row in (*shown, output, truth)]
    return grid(torch.cat(rows).cpu(), columns=count)


def sheets(
    generator: nn.Module,
    samples: Samples,
    config: TrainConfig,
    *,
    latent_dim: int | None,
    device: torch.device,
) -> dict[str, Float[Tensor, "c rows columns"]]:
    """Draw a run's sheets of its generator: ``samples``, and ``interpolations`` where wanted.

    Args:
        generator: the network to show.
        samples: see `preview`.
        config: the run's.
        latent_dim: length of noise vectors.
        device: the generator's.
    """
    made = {"samples": preview(generator, samples, config, latent_dim=latent_dim, device=device)}
    if config.logging.interpolate and config.model.inputs == ["noise"]:
        assert latent_dim is not None
        images = interpolation(generator, latent_dim, rows=4, columns=8, seed=config.seed)
        made["interpolations"] = grid(unit_range(images, config.data.value_range), columns=8)
    return made
