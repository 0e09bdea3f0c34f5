"""Reuse of features computed before: within a step, and for unchanged tensors."""

from __future__ import annotations

import threading
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_CACHE_SIZE = 4
_CACHES: weakref.WeakSet[FeatureCache] = weakref.WeakSet()


class Stamp(NamedTuple):
    """Fingerprint of a tensor, which must be the same for it to hold the same image as before.

    ``version`` is ``None`` where none is counted, in inference mode: such a stamp holds for a step.
    """

    version: int | None
    address: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    checksum: int


def has_storage(tensor: Tensor) -> bool:
    """Return whether a tensor has memory of its own; those made by functorch transforms have none."""
    try:
        tensor.detach().untyped_storage()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def stamp_of(image: Tensor) -> Stamp | None:
    """The tensor's state, or ``None`` where it cannot be told whether it changes."""
    if type(image) not in (Tensor, nn.Parameter) or image.layout is not torch.strided:
        return None
    # In inference mode nothing counts the writes: there is only the checksum to go by.
    uncounted = image.is_inference() or torch.is_inference_mode_enabled()
    if image.is_meta or (uncounted and image.device.type != "cpu"):
        return None
    if not has_storage(image):
        return None
    return Stamp(
        None if uncounted else image._version,
        image.data_ptr(),
        image.shape,
        image.stride(),
        image.dtype,
        image.device,
        # NumPy, shared memory and `.data` write past the version counter. 1 ms per 3 MB.
        _checksum(image) if image.device.type == "cpu" else 0,
    )


def _checksum(image: Tensor) -> int:
    flat = image.detach().contiguous().view(-1)
    data: Any = flat.view(torch.uint8).numpy()
    return zlib.crc32(data) if flat.numel() else 0


@dataclass(slots=True)
class _Kept:
    image: weakref.ref[Tensor]
    stamp: Stamp
    features: dict[str, Tensor]


class FeatureCache:
    """Features of no-grad images of one trunk, each kept while its tensor lives unchanged."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], _Kept] = {}  # in order of use, oldest first
        _CACHES.add(self)

    def get(self, group: int, image: Tensor, stamp: Stamp) -> dict[str, Tensor] | None:
        """The features kept for this very tensor, if it is unchanged."""
        kept = self._kept.pop((group, id(image)), None)
        if kept is None or kept.image() is not image or kept.stamp != stamp:
            return None
        self._kept[group, id(image)] = kept  # now the most recently used
        return kept.features

    def put(self, group: int, image: Tensor, stamp: Stamp, features: dict[str, Tensor]) -> None:
        """Keep features; the least recently used make room."""
        if not _CACHE_SIZE or stamp.version is None:
            return
        key, own = (group, id(image)), weakref.ref(self)

        def forget(gone: weakref.ref[Tensor]) -> None:
            cache = own()
            # Another tensor may have come to live at this address, under the same key.
            if cache is not None and (kept := cache._kept.get(key)) and kept.image is gone:
                cache._kept.pop(key, None)

        self._kept[key] = _Kept(weakref.ref(image, forget), stamp, features)
        self.shrink(_CACHE_SIZE)

    def shrink(self, size: int) -> None:
        """Drop the least recently used beyond ``size``."""
        while len(self._kept) > size:
            oldest = next(iter(tuple(self._kept)), None)
            if oldest is not None:
                self._kept.pop(oldest, None)


def set_cache_size(images: int) -> None:
    """Set for how many unchanged no-grad images each trunk keeps features; the default is 4.

    Args:
        images: 0 turns the cache off and saves its memory.

    Raises:
        ValueError: ``images`` is negative.
    """
    global _CACHE_SIZE
    if images < 0:
        raise ValueError(f"images must be 0 or more, not {images!r}")
    _CACHE_SIZE = images
    for cache in tuple(_CACHES):
        cache.shrink(images)


def clear_features() -> None:
    """Forget all cached features now (those of the running step excepted)."""
    for cache in tuple(_CACHES):
        cache.shrink(0)


class TrunkUser:
    """Base class of a loss's handle on a trunk, as the trunk and the step see it.

    Attributes:
        trunk: the shared network.
        names: the layers wanted of it, by its own names.
        mode: how its passes are to be run.
    """

    trunk: Any
    names: tuple[str, ...]
    mode: Any


class StepEntry(NamedTuple):
    """Features of one image in one step; ``image`` is held so that its id stays its own."""

    trunk: object  # held, so that its address, the key, is not another trunk's meanwhile
    image: Tensor
    stamp: Stamp
    has_graph: bool
    inference: bool  # whether the features are inference tensors, which no graph can hold
    features: dict[str, Tensor]


class Step:
    """Features computed in the running step, in one thread."""

    def __init__(self, owner: nn.Module | None) -> None:
        self.entries: dict[tuple[int, int, int], StepEntry] = {}
        self._owner = owner
        self._users: list[TrunkUser] | None = None

    def users(self) -> list[TrunkUser] | None:
        """The handles that the owner's losses use; ``None``: not known, so all there are."""
        if self._owner is not None and self._users is None:
            self._users = _users_in(self._owner)
        return self._users


def _users_in(owner: nn.Module) -> list[TrunkUser]:
    values: list[Any] = [v for module in owner.modules() for v in vars(module).values()]
    nested = [v for value in values if isinstance(value, Mapping) for v in value.values()]
    nested += [v for value in values if isinstance(value, (list, tuple)) for v in value]
    return [value for value in (*values, *nested) if isinstance(value, TrunkUser)]


class _Local(threading.local):
    step: Step | None = None


_LOCAL = _Local()


def current_step() -> Step | None:
    """The step that the calling thread is in."""
    return _LOCAL.step


class shared_features:  # noqa: N801 - reads as a statement, like torch.no_grad
    """Run each trunk once per image inside this block, for all losses called in it.

    Add the losses up before ``backward()``: they share one graph. What was computed for images
    that need a gradient is let go at the end of the block. Blocks may nest; the outermost counts.

    Args:
        owner: the module whose losses will be called (an objective). The first call then computes
            the layers that these losses want. Without it: those that all living losses want.

    Example:
        >>> import torch
        >>> from losskit import shared_features
        >>> with shared_features():
        ...     pass  # total = perceptual(pred, target) + lpips(pred, target)
    """

    def __init__(self, owner: nn.Module | None = None) -> None:
        self._owner = owner
        self._began: list[bool] = []  # one entry a nested `with` of this very object

    def __enter__(self) -> shared_features:
        if torch.compiler.is_compiling():
            return self
        self._began.append(_LOCAL.step is None)
        if self._began[-1]:
            _LOCAL.step = Step(self._owner)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._began and self._began.pop():
            _LOCAL.step = None
