"""losskit: losses for image synthesis, restoration and editing, found through plugins.

Everything is imported when it is first used: ``import losskit`` imports neither torch nor a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "AdaptiveWeight": "losskit.adaptive",
    "BackboneSpec": "losskit.spec",
    "CommandSpec": "losskit.spec",
    "Example": "losskit.spec",
    "Loss": "losskit.loss",
    "LossSpec": "losskit.spec",
    "LosskitError": "losskit.errors",
    "Objective": "losskit.objective",
    "ObjectiveOutput": "losskit.objective",
    "PluginRecord": "losskit.loading",
    "PresetSpec": "losskit.spec",
    "Schedule": "losskit.schedule",
    "Term": "losskit.term",
    "WeightsSpec": "losskit.spec",
    "build": "losskit.factory",
    "create": "losskit.factory",
    "get_spec": "losskit.registry",
    "hookimpl": "losskit.hookspecs",
    "list_backbones": "losskit.registry",
    "list_commands": "losskit.registry",
    "list_losses": "losskit.registry",
    "list_presets": "losskit.registry",
    "list_weights": "losskit.registry",
    "load_objective": "losskit.config",
    "masked_loss": "losskit.reduction",
    "plugins": "losskit.registry",
    "refresh": "losskit.registry",
    "register": "losskit.registry",
    "shared_features": "losskit.backbones",
    "weighted_loss": "losskit.reduction",
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
    from losskit.adaptive import AdaptiveWeight
    from losskit.backbones import shared_features
    from losskit.config import load_objective
    from losskit.errors import LosskitError
    from losskit.factory import build, create
    from losskit.hookspecs import hookimpl
    from losskit.loading import PluginRecord
    from losskit.loss import Loss
    from losskit.objective import Objective, ObjectiveOutput
    from losskit.reduction import masked_loss, weighted_loss
    from losskit.registry import (
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
    from losskit.schedule import Schedule
    from losskit.spec import (
        BackboneSpec,
        CommandSpec,
        Example,
        LossSpec,
        PresetSpec,
        WeightsSpec,
    )
    from losskit.term import Term


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
