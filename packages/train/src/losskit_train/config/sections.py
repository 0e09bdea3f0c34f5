"""The sections of a training config, each a dataclass whose docstring is its reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from losskit.cli.arguments import parse_loss
from losskit.errors import ConfigError, nearest

#: torch takes seeds of 64 bits, and ranks, samples and images count up from the one that is given.
LARGEST_SEED = 2**63 - 1


def at_least(least: float, default: Any, *, most: float | None = None) -> Any:
    """A field whose number may not be smaller, nor larger than ``most``."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class ModelConfig:
    """``model``: the two networks and how they are used.

    A network is ``{type: NAME, ...its arguments}``. ``NAME`` is one of this package's networks, or
    ``"module:Class"`` of yours, which is imported and run, and therefore needs ``allow_import``.

    Args:
        generator: the generator. Example: ``{type: DCGANGenerator, image_size: 64}``.
        discriminator: the discriminator; ``null``: train the generator alone.
            Example: ``{type: ResidualDiscriminator, image_size: 64}``.
        inputs: what the generator is called with: ``noise``, ``lq``, ``mask``.
        latent_dim: length of a noise vector, where the generator does not say so itself. Example:
            ``128``.
        compose: paste the generator's output into the mask only (inpainting).
        ema: decay of the moving average of the generator's weights per step, below 1; 0: none.
        ema_start: step until which the average just copies.
        warm_start: a checkpoint whose networks to start from (not its optimisers or step), or a state
            dict of the generator (``.safetensors``, ``.pth``). Example: ``runs/default``.
        compile: run both networks through ``torch.compile``.
    """

    generator: dict[str, Any]
    discriminator: dict[str, Any] | None = None
    inputs: list[str] = field(default_factory=lambda: ["noise"])
    latent_dim: int | None = at_least(1, None)
    compose: bool = False
    ema: float = at_least(0, 0.999)
    ema_start: int = at_least(0, 0)
    warm_start: str | None = None
    compile: bool = False


@dataclass(frozen=True)
class DataConfig:
    """``data``: the images.

    Args:
        images: a folder (16-bit grey and TIFFs of floats in [0, 1] are scaled); a ``.npy`` file of
            images (``n h w`` or ``n h w c``); ``builtin:faces`` or ``builtin:photos``, which
            scikit-image's wheel holds; or ``"module:function"`` of yours that returns such an
            array or a list of images, and needs ``allow_import``. Example: ``builtin:faces``.
        inputs: for ``data.task: paired``, the folder of the generator's inputs, matched by name.
            Example: ``path/to/inputs``.
        options: keyword arguments of a provider. Example: ``{held_out: astronaut.png}``.
        task: ``generation``; ``super-resolution`` (``lq`` is the image made smaller, bicubic);
            ``inpainting`` (``mask`` is a random free-form hole, ``lq`` the image without it);
            ``paired``.
        batch_size: images per step and device.
        size: side of the square the networks see; with ``data.fit: crop`` no image may be smaller.
        fit: ``crop`` a square of that size, or ``resize`` the shorter side to it first; by default
            ``resize`` for ``generation``, else ``crop``. Example: ``crop``.
        scale: factor of ``super-resolution``.
        flip: mirror half of the images left to right.
        rotate: turn images by a random multiple of 90 degrees.
        channels: 3 (RGB) or 1 (grey).
        value_range: what black and white become, ``[-1, 1]`` or ``[0, 1]``.
        hole: for ``inpainting``, the smallest and largest share of the image that is masked.
        workers: processes that load ahead; 0: this one does.
        cache: keep decoded images in memory.
        skip_bad: leave out images that cannot be read or are too small, and pairs that lack one of
            the two, and count them (``data_skipped``).
    """

    images: str
    inputs: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    task: Literal["generation", "super-resolution", "inpainting", "paired"] = "generation"
    batch_size: int = at_least(1, 16)
    size: int = at_least(1, 64)
    fit: Literal["crop", "resize"] | None = None
    scale: int = at_least(2, 2)
    flip: bool = True
    rotate: bool = False
    channels: Literal[1, 3] = 3
    value_range: tuple[float, float] = (-1.0, 1.0)
    hole: tuple[float, float] = at_least(0, (0.1, 0.4))
    workers: int = at_least(0, 0)
    cache: bool = True
    skip_bad: bool = False


@dataclass(frozen=True)
class PlayerOptimizer:
    """``optimizer.generator``, ``optimizer.discriminator``: what differs for one player.

    Args:
        type: a class of ``torch.optim``; ``null``: ``optimizer.type``. Example: ``AdamW``.
        lr: learning rate; ``null``: ``optimizer.lr``. Example: ``0.0004``.
        betas: of the Adam family; ``null``: ``optimizer.betas``. Example: ``[0.0, 0.9]``.
        weight_decay: of the optimiser; ``null``: ``optimizer.weight_decay``. Example: ``0.01``.
        clip_norm: largest norm of the player's gradient, 0: any; ``null``: ``optimizer.clip_norm``.
            Example: ``1.0``.
    """

    type: str | None = None
    lr: float | None = at_least(0, None)
    betas: tuple[float, float] | None = at_least(0, None)
    weight_decay: float | None = at_least(0, None)
    clip_norm: float | None = at_least(0, None)


@dataclass(frozen=True)
class OptimizerConfig:
    """``optimizer``: for both players, unless one has its own value.

    Args:
        type: a class of ``torch.optim``.
        lr: learning rate.
        betas: of the Adam family.
        weight_decay: of the optimiser.
        clip_norm: largest norm of a player's gradient; 0: any.
        schedule: how the learning rate goes: ``constant``, ``cosine`` or ``linear`` to zero; or one of
            torch's schedulers, its arguments counted in steps.
            Example: ``{type: MultiStepLR, milestones: [5000, 8000], gamma: 0.5}``.
        warmup: steps over which it first rises from zero.
        generator: values for the generator alone.
        discriminator: values for the discriminator alone.
    """

    type: str = "Adam"
    lr: float = at_least(0, 2e-4)
    betas: tuple[float, float] = at_least(0, (0.5, 0.999))
    weight_decay: float = at_least(0, 0.0)
    clip_norm: float = at_least(0, 0.0)
    schedule: Literal["constant", "cosine", "linear"] | dict[str, Any] = "constant"
    warmup: int = at_least(0, 0)
    generator: PlayerOptimizer = field(default_factory=PlayerOptimizer)
    discriminator: PlayerOptimizer = field(default_factory=PlayerOptimizer)

    def of(self, player: str) -> dict[str, Any]:
        """One player's values: type, lr, betas, weight_decay, clip_norm."""
        own: PlayerOptimizer = getattr(self, player)
        return {
            key: getattr(self, key) if value is None else value
            for key, value in asdict(own).items()
        }


@dataclass(frozen=True)
class FabricConfig:
    """``fabric``: where it runs; the values are Lightning Fabric's.

    Args:
        accelerator: ``auto``, ``cpu``, ``cuda``, ``mps``.
        devices: how many, a list of indices (``0,1``), or ``auto`` or -1 for all there are.
        num_nodes: machines.
        strategy: ``auto`` (``ddp`` where there is more than one process), ``ddp``,
            ``ddp_find_unused_parameters_true``, or ``fsdp``: parameters, gradients and optimiser
            states are spread over the processes of a machine.
        precision: ``32-true``, ``16-mixed`` or ``bf16-mixed``.
    """

    accelerator: str = "auto"
    devices: int | str | list[int] = 1
    num_nodes: int = at_least(1, 1)
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        """Read ``"0,1"`` as a list, ``"2"`` and ``"-1"`` as numbers, as Fabric does."""
        devices = self.devices
        if isinstance(devices, str) and re.fullmatch(r"-?\d+(,\d+)*,?", devices):
            numbers = [int(number) for number in devices.split(",") if number]
            value = numbers if "," in devices else numbers[0]
            object.__setattr__(self, "devices", value)


@dataclass(frozen=True)
class LoggingConfig:
    """``logging``: what is written, and how often (in steps; 0: never).

    Args:
        every: a row of ``metrics.csv`` and a TensorBoard point: means since the last.
        samples_every: a grid of samples as PNG.
        samples: images in a grid.
        interpolate: also write an interpolation between latents.
        checkpoint_every: a checkpoint; there is always one at the end.
        keep: checkpoints that are kept, the newest.
        tensorboard: write TensorBoard events.
    """

    every: int = at_least(1, 10)
    samples_every: int = at_least(0, 500)
    samples: int = at_least(1, 16)
    interpolate: bool = False
    checkpoint_every: int = at_least(0, 500)
    keep: int = at_least(1, 3)
    tensorboard: bool = True


@dataclass(frozen=True)
class ValidateConfig:
    """``validate``: metrics on images that are not trained on; not for ``data.task: generation``.

    Values are those of ``losskit eval`` on the saved pictures, of the averaged generator where there
    is one. They are logged as ``val_NAME``; for all of them lower is better.

    Args:
        images: as ``data.images``; used whole, whatever their sizes. Example: ``path/to/images``.
        inputs: for ``data.task: paired``, the folder of the generator's inputs.
            Example: ``path/to/inputs``.
        options: keyword arguments of a provider. Example: ``{held_out: astronaut.png}``.
        every: steps between two validations; there is always one at the end.
        metrics: losses of two images, as ``losskit eval`` takes them (``LPIPS:net=vgg``), or configs.
        keep_best: the metric whose best checkpoint is kept in ``best/``. Example: ``PSNRLoss``.
        size: side of the square that is taken from the middle of larger images. Example: ``256``.
        crop_border: pixels that are left out at each side.
        y_channel: compare luma only, as benchmarks of super-resolution do.
    """

    images: str
    inputs: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    every: int = at_least(1, 500)
    metrics: list[Any] = field(default_factory=lambda: ["L1Loss", "PSNRLoss"])
    keep_best: str | None = None
    size: int | None = at_least(1, None)
    crop_border: int = at_least(0, 0)
    y_channel: bool = False

    def named_metrics(self) -> dict[str, dict[str, Any]]:
        """The metrics' configs by the names that they are logged under.

        Raises:
            ConfigError: one is neither a name nor a config, two have one name, or ``keep_best`` is
                none of them.
        """
        named: dict[str, dict[str, Any]] = {}
        for metric in self.metrics:
            if isinstance(metric, str):
                name, config = metric, parse_loss(metric)
            elif isinstance(metric, Mapping) and "type" in metric:
                name, config = str(metric.get("loss_name", metric["type"])), dict(metric)
            else:
                raise ConfigError(
                    "validate.metrics: write a loss's name, 'LPIPS:net=vgg' or {type: LPIPS}, "
                    f"not {metric!r:.60}"
                )
            if name in named:
                raise ConfigError(
                    f"validate.metrics has {name!r} twice: give one of them a loss_name"
                )
            named[name] = config
        if not named:
            raise ConfigError("validate.metrics is empty: name a loss, PSNRLoss, say")
        if self.keep_best is not None and self.keep_best not in named:
            raise ConfigError(
                f"validate.keep_best must be one of validate.metrics ({', '.join(named)}), "
                f"not {self.keep_best!r}" + nearest(self.keep_best, named)
            )
        return named
