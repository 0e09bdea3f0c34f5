"""Use a trained generator: ``losskit sample``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from losskit.errors import ConfigError
from losskit.images.files import SUFFIXES, visible_files
from losskit_train.config.training import TrainConfig, check_folder, load_train_config
from losskit_train.data.samples import in_range, with_hole
from losskit_train.data.sources import decode
from losskit_train.output import sampling
from losskit_train.output.maker import Maker
from losskit_train.run import assemble, checkpoints


def generator_of(
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
    count: int | None = None,
    seed: int = 0,
    interpolate: int = 0,
    inputs: Path | None = None,
    as_grid: bool = False,
    use_ema: bool = True,
    allow_import: bool = False,
    batch: int = 16,
    device: str = "auto",
) -> list[Path]:
    """Write a generator's images as PNG.

    Args:
        run: a run's folder or checkpoint.
        out: folder for the files.
        count: images from noise, or paths of an interpolation; 16 by default.
        seed: of the noise and of holes.
        interpolate: points on each path between two latents; 0: single images.
        inputs: an image or a folder of images, for a generator that takes images; what is made of
            ``inputs/a/b.jpg`` is ``out/a/b.png``. One that takes masks too, for inpainting, gets
            holes as in training, drawn from the seed and the image's place.
        as_grid: one sheet instead of a file each.
        use_ema: the averaged weights.
        allow_import: let the config import a network from outside losskit.
        batch: images the generator makes at a time.
        device: where, ``auto`` being a GPU if there is one.

    Returns:
        The files.

    Raises:
        ConfigError: the generator takes images and none are given, or the other way round; the
            device is not there; ``out`` is a file; or an input would be written over.
    """
    check_folder(out, "--out")
    generator, config = generator_of(run, use_ema=use_ema, allow_import=allow_import)
    maker = Maker(generator, config, batch=batch, device=device, seed=seed)
    if config.model.inputs == ["noise"]:
        if inputs is not None:
            raise ConfigError("this generator takes noise, not images: leave out --input")
        return _from_noise(maker, out, count or 16, interpolate, as_grid)
    if config.model.inputs != ["lq"] and not _with_holes(config):
        raise ConfigError(
            f"this generator takes {', '.join(config.model.inputs)}: load it in Python instead"
        )
    if inputs is None:
        raise ConfigError("this generator takes images: give --input, a file or a folder")
    for flag, value in (("--interpolate", interpolate), ("--count", count)):
        if value:
            raise ConfigError(f"{flag} is for a generator of noise; this one takes images")
    return _from_images(maker, inputs, out, as_grid)


def _with_holes(config: TrainConfig) -> bool:
    """Return whether a generator takes masks that can be drawn as they were in training."""
    given = config.model.inputs
    return config.data.task == "inpainting" and "mask" in given and set(given) <= {"lq", "mask"}


def _from_noise(maker: Maker, out: Path, count: int, interpolate: int, as_grid: bool) -> list[Path]:
    latent_dim = maker.config.model.latent_dim or maker.generator.latent_dim
    assert isinstance(latent_dim, int)
    if interpolate:
        columns = max(2, interpolate)
        points = sampling.between(latent_dim, rows=count, columns=columns, seed=maker.seed)
        return [
            _sheet(
                maker([{"noise": point} for point in points]), out / "interpolation.png", columns
            )
        ]
    noise = sampling.noise(count, latent_dim, seed=maker.seed)
    images = maker([{"noise": vector} for vector in noise])
    if as_grid:
        return [_sheet(images, out / "samples.png")]
    return _each(images, [out / f"sample-{index:04d}.png" for index in range(count)])


def _from_images(maker: Maker, inputs: Path, out: Path, as_grid: bool) -> list[Path]:
    files = _image_files(inputs)
    targets = [out / "samples.png"] if as_grid else _targets(files, inputs, out)
    taken = {file.resolve() for file in files}
    for target in targets:
        if target.resolve() in taken:
            raise ConfigError(f"{target} would be written over its input: give another --out")
    written: list[Path] = []
    sheet: list[Tensor] = []
    for begin in range(0, len(files), maker.batch):  # a folder need not fit into memory
        chunk = range(begin, min(begin + maker.batch, len(files)))
        images = maker([_item(files[index], maker.config, [maker.seed, index]) for index in chunk])
        if as_grid:
            sheet += images
        else:
            written += _each(images, targets[begin : begin + maker.batch])
    return [_sheet(sheet, targets[0])] if as_grid else written


def _item(path: Path, config: TrainConfig, seed: list[int]) -> dict[str, Tensor]:
    decoded = decode(path, config.data.channels).float().div(255)
    image = in_range(decoded, config.data.value_range)
    if not _with_holes(config):
        return {"lq": image}
    random = np.random.default_rng(seed)
    return with_hole(image, config.data, random)


def _image_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [file for file in visible_files(path) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise ConfigError(f"there is no image at {path}")
    return files


def _targets(files: Sequence[Path], inputs: Path, out: Path) -> list[Path]:
    """A name for each: its own, under its folder; with the old suffix where two would be one."""
    root = inputs.parent if inputs.is_file() else inputs
    names = [file.relative_to(root) for file in files]
    plain = Counter(name.with_suffix("") for name in names)
    return [
        out / (name.with_suffix(".png") if plain[name.with_suffix("")] == 1 else f"{name}.png")
        for name in names
    ]


def _sheet(images: Sequence[Tensor], path: Path, columns: int | None = None) -> Path:
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) > 1:
        raise ConfigError(f"a grid needs images of one size; these have {len(sizes)}: no --grid")
    columns = columns or max(1, round(len(images) ** 0.5))
    sampling.save_png(sampling.grid(torch.stack(list(images)), columns=columns), path)
    return path


def _each(images: Sequence[Tensor], paths: Sequence[Path]) -> list[Path]:
    for image, path in zip(images, paths, strict=True):
        sampling.save_png(image, path)
    return list(paths)
