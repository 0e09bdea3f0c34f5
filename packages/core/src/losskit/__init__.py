"""losskit: losses for image synthesis, restoration and editing, found through plugins.

Everything is imported when it is first used: ``import losskit`` imports neither torch nor a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "AdaptiveWeight": "losskit.objectives.adaptive_weight",
    "BackboneSpec": "losskit.spec",
    "CommandSpec": "losskit.spec",
    "Example": "losskit.spec",
    "Loss": "losskit.losses.base",
    "LossSpec": "losskit.spec",
    "LosskitError": "losskit.errors",
    "Objective": "losskit.objectives.objective",
    "ObjectiveOutput": "losskit.objectives.objective",
    "PluginRecord": "losskit.discovery.loading",
    "PresetSpec": "losskit.spec",
    "Schedule": "losskit.objectives.schedule",
    "Term": "losskit.objectives.term",
    "WeightsSpec": "losskit.spec",
    "build": "losskit.objectives.build",
    "create": "losskit.objectives.build",
    "get_spec": "losskit.discovery.registry",
    "hookimpl": "losskit.hookspecs",
    "list_backbones": "losskit.discovery.registry",
    "list_commands": "losskit.discovery.registry",
    "list_losses": "losskit.discovery.registry",
    "list_presets": "losskit.discovery.registry",
    "list_weights": "losskit.discovery.registry",
    "load_objective": "losskit.objectives.config",
    "masked_loss": "losskit.losses.reduction",
    "plugins": "losskit.discovery.registry",
    "refresh": "losskit.discovery.registry",
    "register": "losskit.discovery.registry",
    "shared_features": "losskit.backbones",
    "weighted_loss": "losskit.losses.reduction",
}
# Written out: type checkers do not follow a computed list, and then nothing is exported to them.
__all__ = [
    "__version__",
    "AdaptiveWeight",
    "BackboneSpec",
    "CommandSpec",
    "Example",
    "Loss",
    "LossSpec",
    "LosskitError",
    "Objective",
    "ObjectiveOutput",
    "PluginRecord",
    "PresetSpec",
    "Schedule",
    "Term",
    "WeightsSpec",
    "build",
    "create",
    "get_spec",
    "hookimpl",
    "list_backbones",
    "list_commands",
    "list_losses",
    "list_presets",
    "list_weights",
    "load_objective",
    "masked_loss",
    "plugins",
    "refresh",
    "register",
    "shared_features",
    "weighted_loss",
]

if TYPE_CHECKING:
    from losskit.backbones import shared_features
    from losskit.discovery.loading import PluginRecord
    from losskit.discovery.registry import (
        get_spec,
        list_backbones,
        list_commands,
        list_losses,
        list_presets,
        list_weights,
        plugins,
        refresh,
        register,
    )
    from losskit.errors import LosskitError
    from losskit.hookspecs import hookimpl
    from losskit.losses.base import Loss
    from losskit.losses.reduction import masked_loss, weighted_loss
    from losskit.objectives.adaptive_weight import AdaptiveWeight
    from losskit.objectives.build import build, create
    from losskit.objectives.config import load_objective
    from losskit.objectives.objective import Objective, ObjectiveOutput
    from losskit.objectives.schedule import Schedule
    from losskit.objectives.term import Term
    from losskit.spec import (
        BackboneSpec,
        CommandSpec,
        Example,
        LossSpec,
        PresetSpec,
        WeightsSpec,
    )


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if name in ("errors", "testing"):
        return importlib.import_module(f"losskit.{name}")
    if name == "__version__":  # the metadata is the one place that states it
        from importlib.metadata import version

        return version("losskit")
    raise AttributeError(f"module 'losskit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
