"""The whole contract between losskit and a plugin, on one screen.

A plugin is a module named by an entry point of the group ``losskit``. It must not import torch;
its specs name what to import later. ``api = 1`` in the module states the version of this contract.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from losskit.spec import BackboneSpec, CommandSpec, LossSpec, PresetSpec, WeightsSpec

API_VERSION = 1

hookspec = pluggy.HookspecMarker("losskit")
hookimpl = pluggy.HookimplMarker("losskit")


@hookspec
def losskit_losses() -> Iterable[LossSpec]:  # type: ignore[empty-body]
    """The losses this plugin supplies."""


@hookspec
def losskit_weights() -> Iterable[WeightsSpec]:  # type: ignore[empty-body]
    """Weights files the plugin's losses use, for ``losskit weights`` to list, pull and verify."""


@hookspec
def losskit_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Subcommands of ``losskit``; a built-in name cannot be replaced."""


@hookspec
def losskit_presets() -> Iterable[PresetSpec]:  # type: ignore[empty-body]
    """Named, published combinations of losses, for ``preset:`` in configs."""


@hookspec
def losskit_backbones() -> Iterable[BackboneSpec]:  # type: ignore[empty-body]
    """Families of frozen networks that any perceptual loss may look through."""
