"""Any network as a trunk: cut out of its traced graph, or watched through hooks."""

from __future__ import annotations

import operator
import threading
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torchvision import ops
from torchvision.models.feature_extraction import NodePathTracer

from losskit.backbones import FeatureNetwork
from losskit.errors import nearest

#: torchvision's own operations, which go by one name each.
_LEAVES = tuple(v for v in vars(ops).values() if isinstance(v, type) and issubclass(v, nn.Module))
_OUT_OF_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}


class GraphNetwork(FeatureNetwork):
    """A network that ``torch.fx`` can trace; layers are node names (torchvision's convention).

    A module's name stands for its last node. Only the nodes that the wanted layers need are run.
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
        self._extractors: dict[tuple[str, ...], nn.Module] = {}

    def resolve(self, layer: str) -> str:
        """A node's name; a module's name as its last node."""
        inside = [name for name in self.layer_names if name.startswith(f"{layer}.")]
        if layer in self.layer_names or not inside:
            return super().resolve(layer)
        return inside[-1]

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run the part of the graph that ``layers`` need."""
        _prepare(self, layers)
        # Its forward itself: called as a module, it prints its generated code at every error.
        found: tuple[Tensor, ...] = self.__dict__["_extractors"][layers].forward(image)
        return found

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


def _version(value: Tensor) -> int:
    return 0 if value.is_inference() else value._version


_WATCHING = threading.RLock()


class HookNetwork(FeatureNetwork):
    """A network that cannot be traced; layers are module names, and token features are fine.

    The pass is stopped after the deepest layer. A layer that a later operation overwrites in place
    is copied. ``torch.compile`` cannot trace it in one piece.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = _not_in_place(model.eval())
        self.layer_names = tuple(name for name, _ in model.named_modules() if name)
        self._copied: set[str] = set()

    def resolve(self, layer: str) -> str:
        """A module's name."""
        if layer in self.layer_names:
            return layer
        raise ValueError(
            f"{type(self.model).__name__} has no module {layer!r}{nearest(layer, self.layer_names)}"
        )

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run until all ``layers`` have been seen."""
        with _WATCHING:  # hooks hang on the one network, whoever's pass it is
            found, versions = self._watch(image, layers)
            changed = {name for name in layers if _version(found[name]) != versions[name]}
            if changed:  # known from now on
                self._copied |= changed
                found, _ = self._watch(image, layers)
        return tuple(found[layer] for layer in layers)

    def _watch(
        self, image: Tensor, layers: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        found: dict[str, Tensor] = {}
        versions: dict[str, int] = {}

        def hook(name: str) -> Any:
            def keep(_: nn.Module, __: Any, output: Any) -> None:
                value = output[0] if isinstance(output, (tuple, list)) else output
                # Of inference tensors nothing tells whether they are overwritten later on.
                unsure = name in self._copied or value.is_inference()
                found[name] = value.clone() if unsure else value
                versions[name] = _version(found[name])
                if len(found) == len(set(layers)):
                    raise _EnoughError

            return keep

        handles = [
            self.model.get_submodule(name).register_forward_hook(hook(name)) for name in set(layers)
        ]
        try:
            self.model(image)
        except _EnoughError:
            pass
        finally:
            for handle in handles:
                handle.remove()
        missing = [name for name in layers if name not in found]
        if missing:
            raise ValueError(f"{type(self.model).__name__} does not run its module {missing[0]!r}")
        return found, versions


def as_feature_network(model: nn.Module) -> FeatureNetwork:
    """Make any network a trunk: through its graph where it can be traced, else through hooks."""
    if isinstance(model, FeatureNetwork):
        return model
    try:
        return GraphNetwork(model)
    except (TraceError, TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
        return HookNetwork(model)


def _not_in_place(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return model
