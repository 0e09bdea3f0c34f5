"""Use a trained generator: ``losskit gan sample``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from losskit.cli.images import SUFFIXES
from losskit.errors import ConfigError
from losskit_gan.trainer import assemble, checkpoints, sampling
from losskit_gan.trainer.config import TrainConfig, load_train_config
from losskit_gan.trainer.sources import decode


def load_generator(
    path: Path, *, use_ema: bool = True, allow_import: bool = False
) -> tuple[nn.Module, TrainConfig]:
    """The generator of a run, in eval mode, and the run's config.

    Args:
        path: a checkpoint, or a run's folder (its newest whole checkpoint).
        use_ema: the moving average of the weights, where the run kept one.
        allow_import: let the config import a network from outside losskit. The leave a run was
            given is not taken over: its folder may come from somebody else.

    Raises:
        CheckpointError: there is no whole checkpoint.
        ConfigError: the network cannot be made.
    """
    state = checkpoints.load(checkpoints.find(path))
    config = replace(load_train_config(state["config"]), allow_import=allow_import)
    generator = assemble.network(
        config.model.generator, allow_import=allow_import, where="model.generator"
    )
    weights = state["ema"] if use_ema and state["ema"] is not None else None
    generator.load_state_dict(state["networks"]["generator"] if weights is None else weights)
    return generator.eval(), config


def write_samples(
    run: Path,
    out: Path,
    *,
    count: int = 16,
    seed: int = 0,
    interpolate: int = 0,
    inputs: Path | None = None,
    as_grid: bool = False,
    use_ema: bool = True,
    allow_import: bool = False,
) -> list[Path]:
    """Write a generator's images as PNG.

    Args:
        run: a run's folder or checkpoint.
        out: folder for the files.
        count: images from noise, or paths of an interpolation.
        seed: of the noise.
        interpolate: points on each path between two latents; 0: single images.
        inputs: an image or a folder of images, for a generator that takes images.
        as_grid: one sheet instead of a file each.
        use_ema: the averaged weights.
        allow_import: let the config import a network from outside losskit.

    Returns:
        The files.

    Raises:
        ConfigError: the generator takes images and none are given, or the other way round.
    """
    generator, config = load_generator(run, use_ema=use_ema, allow_import=allow_import)
    if config.model.inputs == ["noise"]:
        if inputs is not None:
            raise ConfigError("this generator takes noise, not images: leave out --input")
        latent_dim = config.model.latent_dim or generator.latent_dim
        assert isinstance(latent_dim, int)
        if interpolate:
            columns = max(2, interpolate)
            images = sampling.interpolation(
                generator, latent_dim, rows=count, columns=columns, seed=seed
            )
        else:
            columns = max(1, round(count**0.5))
            images = sampling.run(
                generator, [sampling.noise(count, latent_dim, seed=seed)], seed=seed
            )
        images = sampling.unit_range(images, config.data.value_range)
        if as_grid or interpolate:
            path = out / ("interpolation.png" if interpolate else "samples.png")
            sampling.save_png(sampling.grid(images, columns=columns), path)
            return [path]
        return _write_each(images, [f"sample-{index:04d}.png" for index in range(count)], out)
    if config.model.inputs != ["lq"]:
        raise ConfigError(
            f"this generator takes {', '.join(config.model.inputs)}: load it in Python instead"
        )
    if inputs is None:
        raise ConfigError("this generator takes images: give --input, a file or a folder")
    written: list[Path] = []
    for path in _image_files(inputs):
        low, high = config.data.value_range
        image = decode(path, config.data.channels)[None].float().div(255) * (high - low) + low
        made = sampling.unit_range(sampling.run(generator, [image], seed=seed), (low, high))
        written += _write_each(made, [f"{path.stem}.png"], out)
    return written


def _image_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES]
    if not files:
        raise ConfigError(f"there is no image at {path}")
    return files


def _write_each(images: Tensor, names: Sequence[str], out: Path) -> list[Path]:
    with torch.no_grad():
        paths = [out / name for name in names]
        for image, path in zip(images, paths, strict=True):
            sampling.save_png(image, path)
    return paths
