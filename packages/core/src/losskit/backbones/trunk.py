"""The shared network: copies per device and type, users, passes."""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from losskit.backbones.network import FeatureNetwork
from losskit.backbones.tensor_cache import FeatureCache, TrunkUser, stamp_of

Transform = Callable[[Tensor], Tensor]
Precision = Literal["bf16", "fp16"]
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Mode(NamedTuple):
    """Settings of a pass; only passes of equal mode can be shared."""

    transform: Transform | None = None
    precision: Precision | None = None
    channels_last: bool = False
    compile: bool = False


class Trunk:
    """One frozen network, its copies per device and type, its users and its cache."""

    def __init__(self, key: Hashable, network: FeatureNetwork) -> None:
        self.key = key
        self.network = network
        self.cache = FeatureCache()
        self.lock = threading.RLock()
        self.users: weakref.WeakSet[TrunkUser] = weakref.WeakSet()
        self.passes = 0
        self.number = next(_NUMBERS)
        _NUMBERED[self.number] = self
        self._groups: dict[Mode, int] = {}
        self._ready: dict[tuple[Any, ...], Callable[..., tuple[Tensor, ...]]] = {}

    def group(self, mode: Mode) -> int:
        """A small number for the mode: what cache keys hold."""
        with self.lock:
            return self._groups.setdefault(mode, len(self._groups))

    def mode_on(self, kind: str, mode: Mode) -> Mode:
        """The mode in truth: ``compile`` only where the network gains from it on such a device."""
        if mode.compile and not self.network.gains_from_compile(kind):
            return mode._replace(compile=False)
        return mode

    def wanted(self, user: TrunkUser, users: list[TrunkUser] | None, kind: str) -> set[str]:
        """The layers that the users want who run the network as this one does."""
        with self.lock:
            everyone = list(self.users) if users is None else [u for u in users if u.trunk is self]
        layers = set(user.names)
        mode = self.mode_on(kind, user.mode)
        return layers.union(*(u.names for u in everyone if self.mode_on(kind, u.mode) == mode))

    def run(
        self, image: Tensor, layers: tuple[str, ...], mode: Mode, *, grad: bool
    ) -> tuple[Tensor, ...]:
        """One pass, in the trunk's own precision whatever autocast says."""
        wide = torch.float64 if image.dtype == torch.float64 else torch.float32
        dtype = PRECISIONS[mode.precision] if mode.precision else wide
        device = image.device
        key = (device.type, device.index, dtype, mode.channels_last, mode.compile)
        _prepare(self.number, *key)
        network = self._ready[key]
        with (
            torch.set_grad_enabled(grad and torch.is_grad_enabled()),
            torch.autocast(device.type, enabled=False),
        ):
            inputs = (image if grad else image.detach()).to(wide)
            if mode.transform is not None:
                inputs = mode.transform(inputs)
            inputs = inputs.to(dtype)
            if mode.channels_last:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            return network(inputs, layers)

    def prepare(
        self, kind: str, index: int | None, dtype: torch.dtype, channels_last: bool, compiled: bool
    ) -> Callable[..., tuple[Tensor, ...]]:
        """The network on a device and in a type, made when it is first needed."""
        key = (kind, index, dtype, channels_last, compiled)
        with self.lock:
            if key not in self._ready:
                if compiled:
                    plain = self.prepare(kind, index, dtype, channels_last, compiled=False)
                    self._ready[key] = torch.compile(plain)
                else:
                    device = torch.device(kind) if index is None else torch.device(kind, index)
                    self._ready[key] = self._copy(device, dtype, channels_last)
            return self._ready[key]

    def _copy(
        self, device: torch.device, dtype: torch.dtype, channels_last: bool
    ) -> FeatureNetwork:
        parameter = next(self.network.parameters(), None)
        fits = parameter is None or (parameter.device, parameter.dtype) == (device, dtype)
        if fits and not channels_last:
            return self.network
        # In a thread of its own, where nothing of the caller's (torch.func, inference mode) looks on:
        # the copy is for everybody.
        with ThreadPoolExecutor(1) as elsewhere:
            return elsewhere.submit(_converted, self.network, device, dtype, channels_last).result()


def _converted(
    network: FeatureNetwork, device: torch.device, dtype: torch.dtype, channels_last: bool
) -> FeatureNetwork:
    network = copy.deepcopy(network).to(device=device, dtype=dtype)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.requires_grad_(False)


def _prepare(
    number: int,
    kind: str,
    index: int | None,
    dtype: torch.dtype,
    channels_last: bool,
    compiled: bool,
) -> bool:
    # While torch.compile traces, this is called for real and the network it leaves is traced. The
    # compiler of torch 2.6 to 2.8 wants such a call's arguments to be constants: hence the number.
    _NUMBERED[number].prepare(kind, index, dtype, channels_last, compiled)
    return True


# All that torch.compiler.assume_constant_result does, without importing the whole compiler (more
# than a second) for those who never compile.
vars(_prepare)["_dynamo_marked_constant"] = True


_NUMBERS = itertools.count()
_NUMBERED: weakref.WeakValueDictionary[int, Trunk] = weakref.WeakValueDictionary()
_TRUNKS: weakref.WeakValueDictionary[Hashable, Trunk] = weakref.WeakValueDictionary()
_LOCK = threading.RLock()


def trunk_for(build: Callable[..., FeatureNetwork], args: tuple[Hashable, ...]) -> Trunk:
    """The trunk that somebody uses already, or a new one."""
    for value in args:
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(
                f"{build.__name__}'s arguments tell networks apart: {value!r} must be hashable"
            ) from error
    key = (build, args, _file_stamps(args))
    with _LOCK:
        trunk = _TRUNKS.get(key)
        if trunk is None:
            # No trace of the build in the caller's generator; the same random weights for all.
            # Whatever device and type the caller made the default: others will share it.
            default = torch.get_default_dtype()
            with (
                torch.inference_mode(False),
                torch.random.fork_rng(devices=[]),
                torch.device("cpu"),
            ):
                torch.default_generator.manual_seed(0)
                torch.set_default_dtype(torch.float32)
                try:
                    network = build(*args)
                finally:
                    torch.set_default_dtype(default)
            if not isinstance(network, FeatureNetwork):
                raise TypeError(
                    f"{build.__name__} must return a FeatureNetwork, not "
                    f"{type(network).__name__}; wrap a plain network in EmbeddingNetwork"
                )
            trunk = Trunk(key, network.eval().requires_grad_(False))
            _TRUNKS[key] = trunk
        return trunk


def _file_stamps(args: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    """A weights file written anew is another network, and so is a module whose weights changed."""
    stamps: list[Hashable] = []
    for value in args:
        if isinstance(value, nn.Module):
            stamps.append(repr(value))  # its layers and their settings
            stamps += [_state(tensor) for tensor in (*value.parameters(), *value.buffers())]
            continue
        if isinstance(value, Path) or (isinstance(value, str) and "." in value):
            try:
                stat = Path(value).stat()
            except (OSError, ValueError):
                continue
            stamps.append((value, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def _state(tensor: Tensor) -> Hashable:
    stamp = stamp_of(tensor)
    if stamp is not None:
        return stamp
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
