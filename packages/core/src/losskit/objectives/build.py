"""Make losses and terms: ``create`` and ``build``. Imports torch when it is first called."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from losskit import mmagic
from losskit.discovery.options import check_options
from losskit.discovery.registry import get_spec, local_target
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError, LosskitError, WeightsError, nearest
from losskit.signatures import constructor_parameters, is_required
from losskit.spec import LossSpec
from losskit.text import one_line

if TYPE_CHECKING:
    from torch import Tensor, nn

    from losskit.objectives.term import Term


def create(name: str, /, **arguments: Any) -> nn.Module:
    """Make a loss: the bare module, without weight or routing.

    Args:
        name: a loss's name, qualified name or alias.
        arguments: its constructor's.

    Raises:
        UnknownLossError: nobody supplies it.
        ConfigError: an argument is unknown or missing, or its value is refused.
        PluginError: its plugin's module cannot be imported.
    """
    from losskit.objectives.term import ROUTING_KEYS

    spec = get_spec(name)
    target = _target(spec)
    accepted = _constructor(target)
    for key in arguments:
        if key in ROUTING_KEYS and key not in accepted:
            raise ConfigError(
                f"{key!r} belongs to a term, not to {spec.name} itself: "
                f"use losskit.build(dict(type={spec.name!r}, {key}=...))"
            )
    return _make(spec, target, arguments)


def build(
    config: Mapping[str, Any] | Term | Callable[..., Tensor], /, *, allow_import: bool = False
) -> Term:
    """Make a term from its config.

    Args:
        config: ``type`` (a loss's name, or a loss of PyTorch's own such as
            ``torch.nn.SmoothL1Loss``), the term's keys (``loss_weight``, ``data_info``,
            ``loss_name``, ``interval``, ``scale_by_interval``, ``start``, ``stop``, ``ramp``,
            ``monitor``), and the loss's own arguments. A loss, be it a module or a function,
            becomes a term of weight 1; a term is returned as it is.
        allow_import: let losses import code that the config names (a network as
            ``"module:factory"``). Only the caller can say so: a config may come from anywhere.

    Raises:
        ConfigError: the config is not a mapping, lacks ``type``, or has an unknown key or a bad
            value.
        UnknownLossError: nobody supplies the type.
        PluginError: the plugin that supplies it is broken.
    """
    from losskit.objectives.adaptive_weight import AdaptiveWeight
    from losskit.objectives.schedule import Schedule
    from losskit.objectives.term import ROUTING_KEYS, Term

    if isinstance(config, Term):
        return config
    if callable(config):
        return Term(config)
    if not isinstance(config, Mapping):
        raise ConfigError(f"a term's config must be a mapping with 'type', not {config!r:.80}")
    if "type" not in config:
        raise ConfigError(
            f"a term's config needs 'type', a loss's name; it has {', '.join(map(str, config)) or 'nothing'}"
        )
    spec = get_spec(config["type"])
    target = _target(spec)
    accepted = _constructor(target)
    own = {key: value for key, value in config.items() if key != "type"}
    if "allow_import" in own:
        raise ConfigError(
            f"the config of {spec.name} cannot give itself leave to import code: take allow_import "
            "out of it and pass allow_import=True to losskit.build or load_objective"
        )
    if allow_import and "allow_import" in accepted:
        own["allow_import"] = True
    routing = {k: own.pop(k) for k in ROUTING_KEYS if k in own and k not in accepted}
    given = [key for key in ("loss_weight", "data_info") if key in own]
    loss = _make(spec, target, own)
    weight = routing.pop("loss_weight", 1.0)
    if isinstance(weight, Mapping):
        if set(weight) != {"adaptive"} or not isinstance(weight["adaptive"], Mapping):
            raise ConfigError(
                f"loss_weight must be a number or {{adaptive: {{...}}}}, not {weight!r}"
            )
        weight = AdaptiveWeight.from_config(weight["adaptive"])
    elif isinstance(weight, bool) or not isinstance(weight, (int, float, AdaptiveWeight)):
        raise ConfigError(f"loss_weight of {spec.name} must be a number, not {weight!r}")
    elif not isinstance(weight, AdaptiveWeight):
        try:
            weight = float(weight)
        except OverflowError:  # a whole number beyond every float
            weight = math.inf
        if not math.isfinite(weight):
            raise ConfigError(f"loss_weight of {spec.name} must be finite, not {weight!r}")
    name = routing.pop("loss_name", None)
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError(f"loss_name of {spec.name} must be a name, not {name!r}")
    monitor = routing.pop("monitor", None)
    if monitor is not None and not isinstance(monitor, bool):
        raise ConfigError(f"monitor of {spec.name} must be true or false, not {monitor!r}")
    data_info = routing.pop("data_info", None)
    return Term(
        loss,
        loss_weight=weight,
        data_info=data_info,
        loss_name=name,
        monitor=monitor,
        type_name=spec.name,
        self_routed="data_info" in given,
        schedule=Schedule.from_config(**routing),
    )


def _target(spec: LossSpec) -> Any:
    if spec.namespace == "local":
        return local_target(spec)
    if spec.deprecated:
        warnings.warn(
            f"{spec.qualified_name} is deprecated: {spec.deprecated}", FutureWarning, stacklevel=4
        )
    return resolve_target(spec.target)


def _constructor(target: Any) -> list[str]:
    """The names a loss's constructor (or a function loss) takes."""
    return [
        name
        for name, parameter in constructor_parameters(target).items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _make(spec: LossSpec, target: Any, arguments: Mapping[str, Any]) -> nn.Module:
    from losskit.losses.base import FunctionLoss

    accepted = _constructor(target)
    arguments = mmagic.constructor_arguments(spec.name, arguments, accepted)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in constructor_parameters(target).values())
    for key, parameter in constructor_parameters(target).items():
        if inspect.isclass(target) and key not in arguments and is_required(parameter):
            raise ConfigError(
                f"{spec.name} needs the argument {key!r}; see `losskit show {spec.name}`"
            )
    for key in arguments:
        if key not in accepted and not open_ended:
            from losskit.objectives.term import ROUTING_KEYS

            raise ConfigError(
                f"{spec.name} has no argument {key!r}{nearest(str(key), [*accepted, *ROUTING_KEYS])}; "
                f"it takes {', '.join(accepted) or 'none'}"
            )
    check_options(spec.name, constructor_parameters(target), arguments)
    try:
        if not inspect.isclass(target):
            return FunctionLoss(target, **arguments)
        made: Any = target(**arguments)
    except WeightsError as error:
        hint = "; weights: random tries the rest without them" if "weights" in accepted else ""
        raise WeightsError(f"{spec.name}: {error}{hint}") from error
    except LosskitError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{spec.name}: {one_line(error)}") from error
    module: nn.Module = made
    return module
