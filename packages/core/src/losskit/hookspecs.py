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
def losskit_losses() -> Iterable[LossSpec]:
    """The losses this plugin supplies."""
    return ()


@hookspec
def losskit_weights() -> Iterable[WeightsSpec]:
    """Weights files the plugin's losses use, for ``losskit weights`` to list, pull and verify."""
    return ()


@hookspec
def losskit_commands() -> Iterable[CommandSpec]:
    """Subcommands of ``losskit``; a built-in name cannot be replaced."""
    return ()


@hookspec
def losskit_presets() -> Iterable[PresetSpec]:
    """Named, published combinations of losses, for ``preset:`` in configs."""
    return ()


@hookspec
def losskit_backbones() -> Iterable[BackboneSpec]:
    """Families of frozen networks that any perceptual loss may look through."""
    return ()
