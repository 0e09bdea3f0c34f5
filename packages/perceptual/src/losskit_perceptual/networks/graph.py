"""Any network as a trunk: cut out of its traced graph, or watched through hooks."""

from __future__ import annotations

import operator
import threading
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision import ops
from torchvision.models.feature_extraction import NodePathTracer

from losskit.backbones import FeatureNetwork
from losskit.errors import nearest
from losskit_perceptual.networks.layout import Layout

#: torchvision's own operations, which go by one name each.
_LEAVES = tuple(v for v in vars(ops).values() if isinstance(v, type) and issubclass(v, nn.Module))
_OUT_OF_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}


class GraphNetwork(FeatureNetwork):
    """A network that ``torch.fx`` can trace; layers are node names (torchvision's convention).

    Maps come with their channels first. A module's name stands for its last node. Only the nodes that the wanted layers need are run.
    It is traced once, here: tracing patches ``nn.Module`` for every thread while it lasts, which no
    step of a training must do.

    Args:
        model: the network.

    Raises:
        TraceError: the network cannot be traced.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _not_in_place(model.eval())
        tracer = NodePathTracer(leaf_modules=_LEAVES)
        self._graph = tracer.trace(self.model)
        for node in self._graph.nodes:
            _make_out_of_place(node)
        self._nodes = {path: node.name for node, path in tracer.node_to_qualname.items()}
        self.layer_names = tuple(self._nodes)
        self._layout = Layout(model)
        self._extractors: dict[tuple[str, ...], nn.Module] = {}

    def resolve(self, layer: str) -> str:
        """A node's name; a module's name as its last node."""
        inside = [name for name in self.layer_names if name.startswith(f"{layer}.")]
        if layer in self.layer_names:
            return layer
        if inside:
            return inside[-1]
        raise ValueError(
            f"{type(self.model).__name__} has no layer {layer!r}{nearest(layer, self.layer_names)}; "
            f"it has {len(self.layer_names)}, from {self.layer_names[0]!r} to {self.layer_names[-1]!r}"
        )

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run the part of the graph that ``layers`` need."""
        _prepare(self, layers)
        # Its forward itself: called as a module, it prints its generated code at every error.
        found = self.__dict__["_extractors"][layers].forward(image)
        return tuple(self._layout(image, features) for features in found)

    def cut(self, layers: tuple[str, ...]) -> None:
        """Make the part of the graph that gives ``layers``."""
        if layers in self._extractors:
            return
        part = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        part.graph_copy(self._graph, copies)
        ours = {node.name: copies[node] for node in self._graph.nodes if node in copies}
        part.output(tuple(ours[self._nodes[layer]] for layer in layers))
        module = fx.GraphModule(self.model, part)
        module.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        self._extractors[layers] = module.eval().requires_grad_(False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the cut graphs: they are cut again from the copy."""
        return {**self.__dict__, "_extractors": {}}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _prepare(network: GraphNetwork, layers: tuple[str, ...]) -> bool:
    network.cut(layers)  # for real, also while torch.compile traces
    return True


def _make_out_of_place(node: fx.Node) -> None:
    if node.op == "call_function":
        for in_place, plain in _OUT_OF_PLACE.items():
            if node.target is in_place:
                node.target = plain
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}
    elif node.op == "call_method":
        name = str(node.target)
        if name.endswith("_") and not name.endswith("__"):
            node.target = name[:-1]


class _EnoughError(Exception):
    """The deepest layer has been seen."""


class _Watch:
    """What one pass has shown of the layers it is watched for."""

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


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _run(model: nn.Module, image: Tensor) -> None:
    model(image)


class HookNetwork(FeatureNetwork):
    """A network that cannot be traced; layers are module names, and token features are fine.

    Maps come with their channels first. The pass is stopped after the deepest layer. A layer that a later operation overwrites in place
    is copied.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _not_in_place(model.eval())
        self.layer_names = tuple(name for name, _ in model.named_modules() if name)
        self._layout = Layout(model)
        self._copied: frozenset[str] = frozenset()
        for name, module in model.named_modules():
            if name:
                module.register_forward_hook(_Report(name))

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


def as_feature_network(model: nn.Module) -> FeatureNetwork:
    """Make any network a trunk: through its graph where it can be traced, else through hooks.

    Raises:
        TypeError: the network is a TorchScript program, which can be neither cut nor watched.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            "backbone must be a plain module, not a TorchScript one, whose layers cannot be seen: "
            "give the module that it was scripted or traced from"
        )
    if isinstance(model, FeatureNetwork):
        return model
    try:
        return GraphNetwork(model)
    except Exception:  # whatever a symbol trips over in the network's own code
        return HookNetwork(model)


def _not_in_place(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return model
