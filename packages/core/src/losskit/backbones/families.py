"""Lookup of a network named in a config (``"torchvision/resnet50"``) among the plugins."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

from losskit.backbones.network import FeatureNetwork, InputNorm
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError, nearest


@dataclass(frozen=True)
class BackboneRecipe:
    """Recipe for one of a family's networks, returned by the family (a ``BackboneSpec``).

    Args:
        build: as for `shared_backbone`.
        args: as for ``shared_backbone``; names of networks and weights, so that equal recipes share.
        norm: what the network was trained with, for images in [0, 1].
    """

    build: Callable[..., FeatureNetwork]
    args: tuple[Hashable, ...]
    norm: InputNorm = field(default_factory=InputNorm)


def backbone_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """Ask the family before the first slash for the network after it.

    A family's target is a function ``(name, weights) -> BackboneRecipe``; it may be called at any
    time, so it builds nothing.

    Raises:
        ConfigError: no installed plugin supplies the family.
    """
    from losskit.discovery.registry import list_backbones

    family, slash, rest = name.partition("/")
    families = {spec.name: spec for spec in list_backbones() if spec.target}
    if not slash or family not in families:
        raise ConfigError(
            f"backbone {name!r} is of no known family{nearest(family, families)}; write "
            f"'family/network' with one of {', '.join(families) or 'none: no plugin supplies any'}"
        )
    recipe = resolve_target(families[family].target)(rest, weights)
    if not isinstance(recipe, BackboneRecipe):
        raise ConfigError(
            f"the backbone family {family!r} must answer with a BackboneRecipe, "
            f"not {type(recipe).__name__}"
        )
    return recipe
