"""The training config: its keys, their meaning, and the check of the whole before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from losskit.errors import ConfigError
from losskit.objectives.config import read_config
from losskit_gan.presets.sections import LOSSES, preset_losses
from losskit_train.config.preset import with_training_of_preset
from losskit_train.config.rates import LearningRates
from losskit_train.config.schema import from_mapping, with_overrides
from losskit_train.config.sections import (
    LARGEST_SEED,
    DataConfig,
    FabricConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    ValidateConfig,
    at_least,
)

#: Optimisers whose step asks for what a GAN's has not, and what that is.
_UNUSABLE = {
    "LBFGS": "evaluates the loss several times in an update",
    "SparseAdam": "is for sparse gradients",
    "Optimizer": "is no optimiser of its own",
}


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run.

    Args:
        model: the networks.
        data: the images.
        preset: a published combination of losses (``losskit presets``). How its method is trained
            (``discriminator_steps``, ``optimizer``) counts where this config does not say.
            Example: ``stylegan2``.
        loss_config: the preset's own keys. Example: ``{r1_loss_weight: 8.0}``.
        gan_loss: the adversarial loss (`GANObjective`); replaces the preset's.
            Example: ``{type: GANLoss, gan_type: hinge}``.
        disc_auxiliary_loss: the discriminator's other losses, one or a list; replaces the preset's.
            Example: ``[{type: DiscShiftLoss, data_info: {pred: disc_pred_real}}]``.
        gen_auxiliary_loss: the generator's other losses, one or a list; replaces the preset's.
            Example: ``[{type: L1Loss, data_info: {pred: fake_imgs, target: real_imgs}}]``.
        on_nonfinite: what to do about a loss that is not finite: ``raise``, ``warn``, ``skip`` or ``ignore``.
        optimizer: both optimisers.
        steps: training steps.
        generator_steps: generator updates per turn.
        discriminator_steps: discriminator updates per generator turn.
        accumulate: parts a batch is cut into, to save memory.
        seed: of everything random.
        deterministic: ask torch for deterministic kernels.
        out: the folder everything is written to.
        fabric: devices, strategy, precision.
        logging: what is written when.
        validate: metrics on images that are not trained on; ``null``: none.
            Example: ``{images: path/to/photos, every: 1000}``.
        allow_import: let ``module:Class`` paths of this config import and run code from outside
            losskit. A file cannot set it: give ``--allow-import``.
        sources: where a printed preset's numbers come from; nothing reads it.
            Example: ``["arXiv:1912.04958, table 1"]``.
    """

    model: ModelConfig
    data: DataConfig
    preset: str | None = None
    loss_config: dict[str, Any] = field(default_factory=dict)
    gan_loss: Any = None
    disc_auxiliary_loss: Any = None
    gen_auxiliary_loss: Any = None
    on_nonfinite: Literal["raise", "warn", "skip", "ignore"] = "raise"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    steps: int = at_least(1, 10_000)
    generator_steps: int = at_least(1, 1)
    discriminator_steps: int = at_least(1, 1)
    accumulate: int = at_least(1, 1)
    seed: int = at_least(0, 0, most=LARGEST_SEED)
    deterministic: bool = False
    out: str = "runs/default"
    fabric: FabricConfig = field(default_factory=FabricConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    validate: ValidateConfig | None = None
    allow_import: bool = False
    sources: list[Any] = field(default_factory=list)

    def losses(self) -> dict[str, Any]:
        """The three loss arguments of the model, the preset's where the config has none.

        Raises:
            ConfigError: there is no such preset, or it has no such ``loss_config`` key.
        """
        given: dict[str, Any] = dict.fromkeys(LOSSES)
        if self.preset is not None:
            given.update(preset_losses(self.preset, self.loss_config))
        elif self.loss_config:
            raise ConfigError("loss_config belongs to a preset: name one, or write gan_loss itself")
        given.update({key: getattr(self, key) for key in LOSSES if getattr(self, key) is not None})
        return given


def load_train_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> TrainConfig:
    """Read and check a training config.

    Args:
        source: a YAML, JSON or TOML file, or a mapping.
        overrides: ``section.key=value`` texts.

    Raises:
        ConfigError: a key is unknown, a value wrong, or values contradict each other.
    """
    where = "" if isinstance(source, Mapping) else f"{source}: "
    data = source if isinstance(source, Mapping) else read_config(source)
    if not isinstance(source, Mapping) and data.get("allow_import"):
        raise ConfigError(
            f"{where}a file cannot give itself leave to import code: take allow_import out of it "
            "and give --allow-import if you trust it"
        )
    try:
        config = from_mapping(TrainConfig, with_training_of_preset(with_overrides(data, overrides)))
        _check_together(config)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error
    return config


def _check_together(config: TrainConfig) -> None:
    data = config.data
    if data.task == "paired" and data.inputs is None:
        raise ConfigError("data.task 'paired' needs data.inputs, the folder of inputs")
    if data.task != "paired" and data.inputs is not None:
        raise ConfigError("data.inputs is for data.task 'paired' only")
    if data.task == "super-resolution" and data.size % data.scale:
        raise ConfigError(f"data.size {data.size} must be a multiple of data.scale {data.scale}")
    if data.value_range[0] >= data.value_range[1]:
        raise ConfigError(f"data.value_range must rise, not {list(data.value_range)}")
    if not 0 < data.hole[0] <= data.hole[1] < 1:
        raise ConfigError(f"data.hole must be two shares between 0 and 1, not {list(data.hole)}")
    if data.batch_size % config.accumulate:
        raise ConfigError(
            f"data.batch_size {data.batch_size} must be a multiple of accumulate {config.accumulate}"
        )
    if not config.model.ema < 1:
        raise ConfigError(f"model.ema must be below 1, not {config.model.ema}")
    if config.validate is not None:
        _check_validation(config.validate, data)
    _check_devices(config.fabric.devices)
    LearningRates(config.optimizer, {"generator": config.optimizer.lr}, config.steps)
    if (config.fabric.strategy, config.fabric.precision) == ("fsdp", "16-mixed"):
        raise ConfigError(
            "fabric.precision '16-mixed' does not go with fabric.strategy 'fsdp': take bf16-mixed"
        )
    import inspect

    import torch

    for player in ("generator", "discriminator"):
        kind = config.optimizer.of(player)["type"]
        cls = getattr(torch.optim, kind, None)
        if not (inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer)):
            from losskit.errors import nearest

            raise ConfigError(
                f"optimizer.type {kind!r} is no optimiser of torch.optim"
                + nearest(kind, [name for name in dir(torch.optim) if name[0].isupper()])
            )
        if kind in _UNUSABLE:
            raise ConfigError(f"optimizer.type {kind!r} {_UNUSABLE[kind]}: take Adam, say")
        if (config.fabric.strategy, kind) == ("fsdp", "Adafactor"):
            raise ConfigError(
                "optimizer.type 'Adafactor' factors whole weights, which fabric.strategy 'fsdp' "
                "spreads: take Adam, or ddp"
            )


def _check_validation(section: ValidateConfig, data: DataConfig) -> None:
    if data.task == "generation":
        raise ConfigError(
            "validate compares images with what they should be, which data.task 'generation' has not"
        )
    if (data.task == "paired") != (section.inputs is not None):
        needs = "needs" if data.task == "paired" else "has no use for"
        raise ConfigError(f"data.task {data.task!r} {needs} validate.inputs")
    if data.task == "super-resolution" and (section.size or 0) % data.scale:
        raise ConfigError(
            f"validate.size {section.size} must be a multiple of data.scale {data.scale}"
        )
    section.named_metrics()


def _check_devices(devices: int | str | list[int]) -> None:
    if isinstance(devices, list):
        fine = bool(devices) and min(devices) >= 0
    elif isinstance(devices, int):
        fine = devices == -1 or devices >= 1
    else:
        fine = devices == "auto"
    if not fine:
        raise ConfigError(
            f"fabric.devices must be a number, a list of indices ('0,1'), -1 or 'auto' for all, "
            f"not {devices!r}"
        )


def check_folder(path: Path, where: str) -> None:
    """Raise ConfigError where a folder to write to, or one it lies in, is a file or not ours."""
    there = next((part for part in (path, *path.parents) if part.exists()), None)
    if there is not None and not there.is_dir():
        raise ConfigError(f"{where}: {there} is a file, not a folder")
    if there is not None and not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{where}: there is no permission to write in {there}")


def as_mapping(config: TrainConfig) -> dict[str, Any]:
    """The config as plain values, for files: reading it back gives an equal one."""
    plain: dict[str, Any] = _plain(asdict(config))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
