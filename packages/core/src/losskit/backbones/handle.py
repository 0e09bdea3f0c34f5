"""The handles by which losses hold a shared trunk."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones.network import FeatureNetwork
from losskit.backbones.tensor_cache import Stamp, StepEntry, TrunkUser, current_step, stamp_of
from losskit.backbones.trunk import PRECISIONS, Mode, Precision, Transform, Trunk, trunk_for
from losskit.errors import ImageTooSmallError, nearest

#: No network needs larger images than this for its poolings.
_LARGEST_TRIED = 256


class Backbone(TrunkUser):
    """A loss's handle on a shared trunk; made by `shared_backbone`.

    It is no ``nn.Module``: a loss that holds it as an attribute has neither its parameters nor its
    state. Copies share the trunk.

    Args:
        build: as for ``shared_backbone``.
        args: as for ``shared_backbone``.
        layers: the layers this loss wants.
        mode: how to run the pass.
    """

    trunk: Trunk
    mode: Mode

    def __init__(
        self,
        build: Callable[..., FeatureNetwork],
        args: tuple[Hashable, ...],
        layers: tuple[str, ...],
        mode: Mode,
    ) -> None:
        self.build, self.args, self.layers, self.mode = build, args, layers, mode
        self.trunk = trunk_for(build, args)
        resolve = self.trunk.network.resolve
        self.names = tuple(resolve(layer) for layer in layers)  # what the network calls them
        self._register()

    def _register(self) -> None:
        with self.trunk.lock:
            self.trunk.users.add(self)

    @property
    def passes(self) -> int:
        """Number of the trunk's runs, for any caller; those under ``torch.compile`` are not counted."""
        return self.trunk.passes

    @property
    def network(self) -> FeatureNetwork:
        """The network as it was built: to look at, not to change."""
        return self.trunk.network

    def features(
        self, image: Float[Tensor, " b *shape"], *, grad: bool = True
    ) -> dict[str, Tensor]:
        """The activations of this loss's layers.

        Args:
            image: any shape and range the transform takes; hand in the original tensor, not a
                processed one, so that it can be recognised.
            grad: ``False``: for targets; no gradient goes to the image, whatever it requires.

        Returns:
            A tensor per layer name, in the trunk's precision. Do not write into them.

        Raises:
            TypeError: the image is no floating point tensor.
            ImageTooSmallError: it is smaller than the network's poolings and kernels take.
        """
        if not isinstance(image, Tensor) or not image.is_floating_point():
            kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise TypeError(f"an image must be a floating point tensor, not {kind}")
        if torch.compiler.is_compiling():
            values = self._run(image, self.names, grad)
            return dict(zip(self.layers, values, strict=True))
        stamp = stamp_of(image)
        if stamp is None:
            found = self._compute(image, set(self.names), grad)
        else:
            found = self._shared(image, stamp, grad)
        values = tuple(found[name] for name in self.names)
        if not grad:
            values = tuple(v.detach() if v.requires_grad else v for v in values)
        return dict(zip(self.layers, values, strict=True))

    def _shared(self, image: Tensor, stamp: Stamp, grad: bool) -> dict[str, Tensor]:
        """From this step or the cache if they hold all the layers, else from a new pass."""
        trunk, step = self.trunk, current_step()
        has_graph = grad and torch.is_grad_enabled() and image.requires_grad
        inference = torch.is_inference_mode_enabled()
        kind = image.device.type
        group = trunk.group(trunk.mode_on(kind, self.mode))
        layers = set(self.names) if step is None else trunk.wanted(self, step.users(), kind)
        key = (id(trunk), group, id(image))
        entry = None if step is None else step.entries.get(key)
        if (
            entry is not None
            and entry.stamp == stamp
            and layers <= entry.features.keys()
            and (entry.has_graph or not has_graph)
            and entry.inference == inference
        ):
            return entry.features
        lasting = stamp.version is not None and (not grad or not image.requires_grad)
        if lasting:
            with trunk.lock:
                known = trunk.cache.get(group, image, stamp)
            if known is not None:
                if layers <= known.keys():
                    return known
                layers |= known.keys()
        features = self._compute(image, layers, grad)
        if lasting:
            with trunk.lock:
                trunk.cache.put(group, image, stamp, features)
        if step is not None:  # the cache is small; a step may hold more images than it does
            step.entries[key] = StepEntry(trunk, image, stamp, has_graph, inference, features)
        return features

    def _compute(self, image: Tensor, layers: set[str], grad: bool) -> dict[str, Tensor]:
        names = tuple(sorted(layers))
        try:
            values = self._run(image, names, grad)
        except RuntimeError as error:
            least = self._least_side(image, names)
            if least is None:
                raise
            raise ImageTooSmallError(
                f"an image of {image.shape[-2]}x{image.shape[-1]} pixels is too small for "
                f"{type(self.network).__name__} down to {self._deepest(names)}: each side must be at "
                f"least {least}; use larger images or earlier layers"
            ) from error
        self.trunk.passes += 1
        return dict(zip(names, values, strict=True))

    def _least_side(self, image: Tensor, names: tuple[str, ...]) -> int | None:
        """The smallest side of a square image that the network takes; ``None``: size is not its trouble."""
        if image.ndim != 4 or min(image.shape[-2:]) >= _LARGEST_TRIED:
            return None

        def fits(side: int) -> bool:
            try:
                self._run(image.new_zeros((1, image.shape[1], side, side)), names, False)
            except RuntimeError:
                return False
            return True

        sides = range(min(image.shape[-2:]) + 1, _LARGEST_TRIED + 1)
        if not fits(_LARGEST_TRIED) or fits(sides[0] - 1):
            return None
        return sides[bisect_left(sides, True, key=fits)]

    def _deepest(self, names: tuple[str, ...]) -> str:
        order = self.network.layer_names
        return max(names, key=lambda name: order.index(name) if name in order else 0)

    def _run(self, image: Tensor, names: tuple[str, ...], grad: bool) -> tuple[Tensor, ...]:
        mode = self.trunk.mode_on(image.device.type, self.mode)
        return self.trunk.run(image, names, mode, grad=grad)

    def __copy__(self) -> Backbone:
        twin = object.__new__(Backbone)
        twin.__dict__.update(self.__dict__)
        twin._register()
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        # Not the caller's module, which may have become another since.
        given = self.trunk.network.given
        args = tuple(
            given if given is not None and isinstance(a, nn.Module) else a for a in self.args
        )
        return Backbone, (self.build, args, self.layers, self.mode)

    def __repr__(self) -> str:
        args = ", ".join(repr(a) for a in self.args)
        return f"Backbone({self.build.__name__}({args}), layers={self.layers})"


def shared_backbone(
    build: Callable[..., FeatureNetwork],
    *args: Hashable,
    layers: Iterable[str],
    transform: Transform | None = None,
    precision: Precision | None = None,
    channels_last: bool = False,
    compile: bool = False,
) -> Backbone:
    """A handle on the one network that ``build(*args)`` makes, built if nobody uses it yet.

    Args:
        build: a module-level function that returns a
            `FeatureNetwork`; called with torch seeded.
        args: what tells one network from another (architecture, weights); hashable. An argument
            that names a file is told apart by the file's time and size too.
        layers: the names this loss wants; at least one.
        transform: what to do to the image first; deterministic and hashable.
        precision: ``None``: float32, or float64 for a float64 image; ``"bf16"`` or ``"fp16"``: faster,
            with noisier gradients.
        channels_last: faster convolutions on many devices.
        compile: run the network through ``torch.compile``.

    Raises:
        ValueError: no layer is asked for, or one that there is not; ``precision`` is unknown.
    """
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    if not names:
        raise ValueError("layers must name at least one layer")
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(
            f"precision must be None, 'bf16' or 'fp16', not {precision!r}"
            + nearest(str(precision), PRECISIONS)
        )
    mode = Mode(transform, precision, channels_last, compile)
    return Backbone(build, args, tuple(dict.fromkeys(names)), mode)
