"""A preset's parts: losses, training, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from losskit.errors import ConfigError

#: Keys of a preset that a model takes, that a training config takes besides, and that tell people.
LOSSES = ("gan_loss", "disc_auxiliary_loss", "gen_auxiliary_loss")
TRAINING = ("generator_steps", "discriminator_steps", "optimizer")
SOURCES = ("sources",)


def preset_losses(name: str, loss_config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The losses of a preset, as ``GANObjective`` and ``GANWithCustomizedLoss`` take them.

    ``losskit.discovery.presets.preset_config`` gives what else the preset prints: how its method is trained,
    and where its numbers come from.

    Args:
        name: the preset's name, or qualified (``"gan/stylegan2"``).
        loss_config: its keys.

    Returns:
        ``gan_loss``, ``disc_auxiliary_loss`` and ``gen_auxiliary_loss``, as far as it has them.

    Raises:
        ConfigError: there is no such preset or key, or it has parts that two networks have no
            place for.

    Example:
        >>> sorted(preset_losses("stylegan2", {"r1_loss_weight": 8.0}))
        ['disc_auxiliary_loss', 'gan_loss', 'gen_auxiliary_loss']
    """
    from losskit.discovery.presets import preset_config

    config = preset_config(name, loss_config)[1]
    unplaced = sorted(set(config).difference(LOSSES, TRAINING, SOURCES))
    if unplaced:
        raise ConfigError(
            f"preset {name!r} has parts that a generator and a discriminator alone have no place "
            f"for: {', '.join(unplaced)}"
        )
    return {key: config[key] for key in LOSSES if key in config}
