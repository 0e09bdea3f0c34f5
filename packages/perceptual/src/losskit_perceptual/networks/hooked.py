"""A network that cannot be traced as a trunk: its layers are watched through hooks."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from losskit.backbones import FeatureNetwork, uncompiled
from losskit.errors import nearest
from losskit_perceptual.networks.layout import Layout


class _EnoughError(Exception):
    """The deepest layer has been seen."""


class _Watch:
    """Outputs of the watched layers in one pass."""

    def __init__(self, wanted: frozenset[str], copied: frozenset[str]) -> None:
        self.wanted, self.copied = wanted, copied
        self.found: dict[str, Tensor] = {}
        self.versions: dict[str, int] = {}

    def see(self, name: str, output: Any) -> None:
        value = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(value, Tensor):
            raise TypeError(f"layer {name!r} gives a {type(value).__name__}, not a tensor")
        if _traced():
            self.found[name] = value.clone()  # which the compiler drops where it can
        else:
            # Of inference tensors nothing tells whether they are overwritten later on.
            unsure = name in self.copied or value.is_inference()
            self.found[name] = value.clone() if unsure else value
            self.versions[name] = _version(self.found[name])
        if len(self.found) == len(self.wanted):
            raise _EnoughError

    def changed(self) -> frozenset[str]:
        """The layers that a later operation wrote into."""
        return frozenset(k for k, v in self.versions.items() if _version(self.found[k]) != v)


def _version(value: Tensor) -> int:
    return 0 if value.is_inference() else value._version


class _Local(threading.local):
    """The passes that a thread is in, the innermost last: many may go through one network."""

    def __init__(self) -> None:
        self.passes: list[_Watch] = []


_LOCAL = _Local()
#: The same while torch.compile traces, which it does for one thread at a time; what is a thread's own
#: it does not see.
_TRACED: list[_Watch] = []
# Not is_compiling, which is true for the threads beside the one that is traced, too.
_traced = torch.compiler.is_dynamo_compiling


class _Report:
    """A module's hook. It stays, so that a compiler sees it, and knows but a name, to be copied."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        passes = _TRACED if _traced() else _LOCAL.passes
        if passes and self.name in passes[-1].wanted:
            passes[-1].see(self.name, output)


@uncompiled
def _run(model: nn.Module, image: Tensor) -> None:
    model(image)


class HookNetwork(FeatureNetwork):
    """A network that cannot be traced; layers are module names, and token features are fine.

    Maps come with their channels first. The pass is stopped after the deepest layer. A layer that a
    later operation overwrites in place is copied.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()
        self.layer_names = tuple(name for name, _ in model.named_modules() if name)
        self._layout = Layout(model)
        self._copied: frozenset[str] = frozenset()
        for name, module in model.named_modules():
            known = any(isinstance(hook, _Report) for hook in module._forward_hooks.values())
            if name and not known:  # it is, where the network is a pickled one's
                module.register_forward_hook(_Report(name))

    @property
    def given(self) -> nn.Module:
        """The network."""
        return self.model

    def resolve(self, layer: str) -> str:
        """A module's name."""
        if layer in self.layer_names:
            return layer
        raise ValueError(
            f"{type(self.model).__name__} has no module {layer!r}{nearest(layer, self.layer_names)}"
        )

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run until all ``layers`` have been seen."""
        watch = self._watched(image, layers)
        changed = watch.changed()
        if changed:  # known from now on
            self._copied |= changed
            watch = self._watched(image, layers)
        return tuple(self._layout(image, watch.found[layer]) for layer in layers)

    def _watched(self, image: Tensor, layers: tuple[str, ...]) -> _Watch:
        watch = _Watch(frozenset(layers), self._copied)
        tracing = _traced()
        passes = _TRACED if tracing else _LOCAL.passes
        passes.append(watch)
        image = image.clone()  # nobody knows what such a network writes into
        try:
            if tracing:
                self.model(image)
            else:  # by itself: a compiler that could not trace all of it must not trace parts of it
                _run(self.model, image)
        except _EnoughError:
            pass
        finally:
            passes.pop()
        missing = [name for name in layers if name not in watch.found]
        if missing:
            raise ValueError(f"{type(self.model).__name__} does not run its module {missing[0]!r}")
        return watch
