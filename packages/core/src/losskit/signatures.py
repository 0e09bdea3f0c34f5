"""Arguments of a loss: its options, and its inputs."""

from __future__ import annotations

import inspect
from typing import Any

from losskit.spec import LossSpec


def loss_signature(spec: LossSpec) -> dict[str, Any]:
    """A loss's constructor ``arguments`` and call ``inputs``, as parameters by name, and its ``doc``."""

    from losskit.discovery.registry import local_target
    from losskit.discovery.targets import resolve_target
    from losskit.losses.base import Loss

    target: Any = local_target(spec) or resolve_target(spec.target)
    if not isinstance(target, type):
        parameters = _parameters(target)
        options = {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        inputs = {n: p for n, p in parameters.items() if n not in options}
    else:
        loss: Any = target
        options = _parameters(loss.__init__)
        inputs = _parameters(loss.components if loss.forward is Loss.forward else loss.forward)
    return {"arguments": options, "inputs": inputs, "doc": inspect.getdoc(target) or ""}


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Those that are given by name, with annotations that need no look at the source."""
    from typing import get_type_hints

    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):  # names that are there for type checkers only
        hints = {}
    return {
        name: p.replace(annotation=hints.get(name, p.annotation))
        for name, p in inspect.signature(function).parameters.items()
        if name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def constructor_parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a loss's constructor, or of a loss that is a function."""
    if not inspect.isclass(target):
        return dict(inspect.signature(target).parameters)
    owner = next(base for base in target.__mro__ if "__init__" in vars(base))
    if (owner.__module__, owner.__name__) == ("torch.nn.modules.module", "Module"):
        return {}  # nn.Module's own takes (*args, **kwargs), only to refuse them
    parameters = dict(inspect.signature(target.__init__).parameters)
    parameters.pop("self", None)
    return parameters


def is_required(parameter: inspect.Parameter) -> bool:
    """Return whether a call must give the parameter."""
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )
