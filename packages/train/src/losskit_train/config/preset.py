"""Training settings of a preset, for those that a training config leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from losskit_gan.presets.sections import TRAINING
from losskit_train.config.sections import OptimizerConfig

_PLAYERS = ("generator", "discriminator")


def with_training_of_preset(data: Mapping[str, Any]) -> dict[str, Any]:
    """A training config's mapping with its preset's steps and optimiser; what it says itself wins.

    Of ``optimizer`` each key counts by itself. A key for both players also replaces what the preset
    has for one; an optimiser of another type leaves the preset's values out.

    Raises:
        ConfigError: there is no such preset, or it has no such ``loss_config`` key.
    """
    result = dict(data)
    name, options = result.get("preset"), result.get("loss_config", {})
    # A config that says everything, as those in checkpoints do, needs no plugin that has the preset.
    if not isinstance(name, str) or not isinstance(options, Mapping) or _is_complete(result):
        return result
    from losskit.discovery.presets import preset_config

    preset = preset_config(name, options)[1]
    for key in TRAINING:
        if key in preset and key not in result:
            result[key] = preset[key]
        elif key == "optimizer" and isinstance(result[key], Mapping):
            result[key] = _merged(result[key], preset.get(key, {}))
    return result


def _is_complete(data: Mapping[str, Any]) -> bool:
    optimizer, known = data.get("optimizer"), {field.name for field in fields(OptimizerConfig)}
    return (
        all(key in data for key in TRAINING)
        and isinstance(optimizer, Mapping)
        and known <= set(optimizer)
    )


def _merged(own: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    if own.get("type", preset.get("type")) != preset.get("type"):
        return dict(own)
    merged: dict[str, Any] = {**preset, **own}
    for player in _PLAYERS:
        mine = own.get(player, {})
        if isinstance(mine, Mapping):  # what else it is, the check of the whole says
            published = {k: v for k, v in preset.get(player, {}).items() if k not in own}
            merged[player] = {**published, **mine}
    return merged
