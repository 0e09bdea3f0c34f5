"""Networks, losses and optimisers from a checked config."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from losskit.errors import ConfigError, LosskitError, WeightsError, nearest
from losskit.text import one_line
from losskit.weights import load_weights
from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_train.config.imports import import_named
from losskit_train.config.training import TrainConfig
from losskit_train.run import checkpoints


def network(config: Mapping[str, Any], *, allow_import: bool, where: str) -> nn.Module:
    """Make a network from ``{type: ..., ...arguments}``.

    Raises:
        ConfigError: the type is unknown or foreign, or it does not take these arguments.
    """
    if "type" not in config:
        raise ConfigError(f"{where} needs 'type', a network's name or 'module:Class'")
    arguments = {key: value for key, value in config.items() if key != "type"}
    factory = import_named(
        config["type"],
        default_module="losskit_train.networks",
        allow_import=allow_import,
        where=f"{where}.type",
    )
    try:
        known = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some built-in callables have none: let the call say it
        known = MappingProxyType({})
    if known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in arguments:
            if key not in known:
                raise ConfigError(
                    f"{where}.{key}: {config['type']} has no argument {key!r}"
                    f"{nearest(str(key), known)}; it takes {', '.join(known) or 'none'}"
                )
    try:
        made = factory(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {config['type']}: {one_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{where}: {config['type']} made a {type(made).__name__}, not a module")
    return made


def model(config: TrainConfig) -> GANWithCustomizedLoss:
    """Both networks and their losses.

    Raises:
        ConfigError: a network or a loss config is wrong.
    """
    networks = {
        player: None
        if getattr(config.model, player) is None
        else network(
            getattr(config.model, player),
            allow_import=config.allow_import,
            where=f"model.{player}",
        )
        for player in ("generator", "discriminator")
    }
    generator = networks["generator"]
    assert generator is not None
    try:
        return GANWithCustomizedLoss(
            generator,
            networks["discriminator"],
            **config.losses(),
            inputs=config.model.inputs,
            latent_dim=config.model.latent_dim,
            generator_steps=config.generator_steps,
            discriminator_steps=config.discriminator_steps,
            compose=config.model.compose,
            accumulate=config.accumulate,
            on_nonfinite=config.on_nonfinite,
            allow_import=config.allow_import,
        )
    except ValueError as error:
        if isinstance(error, LosskitError):
            raise
        raise ConfigError(one_line(error)) from error


def optimizer(config: TrainConfig, player: str, module: nn.Module) -> torch.optim.Optimizer:
    """A player's optimiser.

    Raises:
        ConfigError: the network has nothing to learn, or the optimiser refuses its values.
    """
    values = config.optimizer.of(player)
    cls = getattr(torch.optim, values.pop("type"))
    values.pop("clip_norm")
    accepted = inspect.signature(cls).parameters
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError(f"the {player} has no parameter to optimise")
    try:
        made: torch.optim.Optimizer = cls(
            parameters, **{key: value for key, value in values.items() if key in accepted}
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer.{player}: {one_line(error)}") from error
    return made


def warm_start(model: GANWithCustomizedLoss, players: Iterable[str], path: Path) -> None:
    """Take the networks of a checkpoint; the averaged generator, which is the better start, if any.

    A file that is no checkpoint of a run is a state dict of the generator: plain, ``.safetensors``,
    or under ``params_ema``, ``state_dict`` or ``params``.

    Raises:
        CheckpointError: there is no whole checkpoint.
        ConfigError: its networks have other layers, or the file holds no state dict.
    """
    if path.is_file() and not checkpoints.is_of_a_run(path):
        try:
            state: dict[str, Any] = {"networks": {"generator": load_weights(path)}}
        except WeightsError as error:
            raise ConfigError(f"model.warm_start: {error}") from error
    else:
        state = checkpoints.load(checkpoints.find(path))
    for player in players:
        saved = state.get("ema") if player == "generator" else None
        saved = state["networks"].get(player) if saved is None else saved
        if saved is None:
            continue
        try:
            getattr(model, player).load_state_dict(saved)
        except RuntimeError as error:
            raise ConfigError(
                f"model.warm_start: the {player} of {path} has other layers: "
                + one_line(error)[:200]
            ) from error
