"""Find losses by name and make them: ``list_losses``, ``create``, ``build`` and their kin.

Torch-free until a loss is made.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from losskit import mmagic
from losskit.discovery.entry_points import Controls
from losskit.discovery.installed import discover
from losskit.discovery.loading import Loaded, PluginRecord
from losskit.discovery.official import OFFICIAL_LOSSES
from losskit.discovery.torch_losses import torch_spec
from losskit.errors import (
    AmbiguousLossError,
    ConfigError,
    LosskitError,
    PluginError,
    PluginWarning,
    UnknownLossError,
    nearest,
)
from losskit.spec import BackboneSpec, CommandSpec, LossSpec, PresetSpec, WeightsSpec

_T = TypeVar("_T", bound=Callable[..., Any])
_LOCAL: dict[str, tuple[LossSpec, Any]] = {}
_lock = threading.RLock()
_state: list[Loaded] | None = None
_controls: Controls | None = None


def _plugins() -> list[Loaded]:
    """Discover once per process, however many threads ask."""
    global _state
    with _lock:
        if _state is None:
            loaded = discover(_controls)
            if os.environ.get("LOSSKIT_STRICT") == "1":
                _raise_first(loaded)
            _state = loaded  # before the warnings: where those are errors, they come once only
            _report(loaded)
        return _state


def _faulty(loaded: list[Loaded]) -> list[Loaded]:
    return [item for item in loaded if item.record.status not in ("ok", "disabled")]


def _fault(record: PluginRecord) -> str:
    return (
        f"plugin {record.name!r} ({record.distribution} {record.version}): "
        f"{record.status}: {record.error}; {record.hint}"
    )


def _raise_first(loaded: list[Loaded]) -> None:
    for item in _faulty(loaded):
        raise PluginError(_fault(item.record)) from item.cause


def _report(loaded: list[Loaded]) -> None:
    for item in _faulty(loaded):
        warnings.warn(_fault(item.record), PluginWarning, stacklevel=4)


def refresh(*, plugins: Iterable[str] | None = None) -> None:
    """Forget what was discovered; the next call looks again.

    Args:
        plugins: an allowlist from now on, instead of the environment's; ``None``: the environment.
    """
    global _state, _controls
    with _lock:
        _state = None
        environment = Controls.from_environment()
        _controls = None if plugins is None else Controls.of(plugins, environment.disabled)


def plugins() -> list[PluginRecord]:
    """Every plugin that is installed, and how its loading went."""
    return [item.record for item in _plugins()]


def _specs(hook: str) -> list[Any]:
    return [spec for item in _plugins() for spec in item.specs.get(hook, ())]


def _all_losses() -> list[LossSpec]:
    return [*_specs("losskit_losses"), *(spec for spec, _ in _LOCAL.values())]


def list_losses(*, tag: str | None = None, plugin: str | None = None) -> list[LossSpec]:
    """The losses that are installed.

    Args:
        tag: only those with this tag.
        plugin: only this plugin's.
    """
    return [
        spec
        for spec in _all_losses()
        if (tag is None or tag in spec.tags) and (plugin is None or spec.namespace == plugin)
    ]


def list_weights() -> list[WeightsSpec]:
    """The weights files that installed plugins know of."""
    return _specs("losskit_weights")


def list_commands() -> list[CommandSpec]:
    """The subcommands that installed plugins add."""
    return _specs("losskit_commands")


def list_presets() -> list[PresetSpec]:
    """The presets that installed plugins supply."""
    return _specs("losskit_presets")


def list_backbones() -> list[BackboneSpec]:
    """The families of feature extractors that installed plugins supply."""
    return _specs("losskit_backbones")


def get_spec(name: str) -> LossSpec:
    """The spec of a loss by name, qualified name or alias, or of one of PyTorch's own losses.

    Those are named as in code, ``"torch.nn.SmoothL1Loss"``; asking for one imports torch.

    Raises:
        UnknownLossError: nobody supplies it; the message has the nearest name, or the install.
        AmbiguousLossError: several plugins supply it.
        PluginError: the plugin that supplies it is broken; its exception is the cause.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a loss's type must be a name, not {name!r:.80}")
    if name.startswith("torch."):
        return torch_spec(name)
    namespace, _, bare = name.rpartition("/")
    bare = mmagic.loss_type(bare)
    matches = [
        spec
        for spec in _all_losses()
        if (bare == spec.name or bare in spec.aliases) and namespace in ("", spec.namespace)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        providers = ", ".join(f"{spec.qualified_name} ({_provider(spec)})" for spec in matches)
        raise AmbiguousLossError(f"{bare!r} is supplied by several plugins: {providers}")
    raise _unknown(name, namespace, bare)


def _provider(spec: LossSpec) -> str:
    for item in _plugins():
        if item.record.name == spec.namespace:
            return f"{item.record.distribution} {item.record.version}"
    return "registered in this process"


def _unknown(name: str, namespace: str, bare: str) -> LosskitError:
    for item in _plugins():
        record = item.record
        supplied = OFFICIAL_LOSSES.get(record.distribution, ())
        if not record.usable and (record.name == namespace or (not namespace and bare in supplied)):
            error = PluginError(
                f"{name!r} belongs to plugin {record.name!r} ({record.distribution} "
                f"{record.version}), which is {record.status}: {record.error or record.hint}"
            )
            error.__cause__ = item.cause
            return error
    known = [n for spec in _all_losses() for n in (spec.name, *spec.aliases)]
    installed = {item.record.distribution for item in _plugins()}
    for distribution, losses in OFFICIAL_LOSSES.items():
        if bare in losses and distribution not in installed:
            return UnknownLossError(
                f"{bare!r} comes with {distribution}: pip install {distribution}"
            )
    elsewhere = {
        loss: distribution
        for distribution, losses in OFFICIAL_LOSSES.items()
        if distribution not in installed
        for loss in losses
    }
    hint = nearest(bare, [*known, *elsewhere])
    for loss, distribution in elsewhere.items():
        if f"{loss!r}" in hint and loss not in known:
            hint += f" It comes with {distribution}: pip install {distribution}"
    unusable = [item for item in _faulty(_plugins()) if not item.record.usable]
    left_out = ", ".join(f"{item.record.name} ({item.record.status})" for item in unusable)
    unknown = UnknownLossError(
        f"no loss is called {name!r}{hint or '; see `losskit list`'}"
        + (f"; plugins that did not load: {left_out}, see `losskit plugins`" if left_out else "")
    )
    if unusable:  # one of them may be whose loss it is
        unknown.__cause__ = unusable[0].cause
    return unknown


def local_target(spec: LossSpec) -> Any:
    """The class or function behind a loss of ``register``; ``None`` for a plugin's."""
    return _LOCAL[spec.name][1] if spec.namespace == "local" else None


def register(
    name: str | Callable[..., Any] | None = None,
    *,
    summary: str = "",
    tags: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    paper: str = "",
) -> Callable[[_T], _T]:
    """Make a class or function of a script or notebook available as a loss, for this process.

    Args:
        name: what configs call it; the class's or function's own name by default.
        summary: one line, for listings.
        tags: words to filter by.
        aliases: other names.
        paper: where it comes from.

    Example:
        >>> import losskit, torch
        >>> @losskit.register(summary="The mean absolute error, doubled.")
        ... def double_l1(pred, target):
        ...     return 2 * (pred - target).abs().mean()
        >>> losskit.build({"type": "double_l1"})(torch.ones(2), torch.zeros(2))
        tensor(2.)
    """

    def decorate(target: _T) -> _T:
        own = name if isinstance(name, str) and name else target.__name__
        spec = LossSpec(own, "__main__:local", summary, tags, aliases, None, paper)
        _LOCAL[own] = (replace(spec, namespace="local"), target)
        return target

    if callable(name):  # used without parentheses
        return decorate(name)
    return decorate
