"""Any network as a trunk: cut out of its traced graph, or else watched through hooks."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torchvision import ops
from torchvision.models.feature_extraction import NodePathTracer

from losskit.backbones import FeatureNetwork
from losskit.errors import nearest
from losskit_perceptual.networks.hooked import HookNetwork
from losskit_perceptual.networks.layout import Layout

#: torchvision's own operations, which go by one name each.
_LEAVES = tuple(v for v in vars(ops).values() if isinstance(v, type) and issubclass(v, nn.Module))
#: ``x += 1`` and its kind. Of assignments to parts of a tensor ``torch.fx`` makes no graph.
_WRITING = (
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.ipow,
    operator.imatmul,
)


class GraphNetwork(FeatureNetwork):
    """A network that ``torch.fx`` can trace; layers are node names (torchvision's convention).

    Maps come with their channels first. A module's name stands for its last node. Only the nodes that
    the wanted layers need are run. It is traced once, here: tracing patches ``nn.Module`` for every thread while it lasts, which no
    step of a training must do.

    In-place operations stay as they are; what they could overwrite is copied: the image, and the layers.

    Args:
        model: the network.

    Raises:
        TraceError: the network cannot be traced.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()
        tracer = NodePathTracer(leaf_modules=_LEAVES)
        self._graph = tracer.trace(self.model)
        self._writing = {node.name for node in self._graph.nodes if _writes(node, self.model)}
        self._nodes = {path: node.name for node, path in tracer.node_to_qualname.items()}
        self.layer_names = tuple(self._nodes)
        self._layout = Layout(model)
        self._extractors: dict[tuple[str, ...], nn.Module] = {}

    @property
    def given(self) -> nn.Module:
        """The network."""
        return self.model

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
        wanted = {self._nodes[layer] for layer in layers}
        part = fx.Graph()
        ours: dict[fx.Node, fx.Node] = {}
        found: dict[str, fx.Node] = {}
        kept: set[str] = set()

        def safe(node: fx.Node) -> fx.Node:
            return part.call_function(_copied, (node,)) if self._writing else node

        for node in self._graph.nodes:
            ours[node] = part.node_copy(node, ours.__getitem__)
            if node.name in self._writing:
                kept.add(ours[node].name)
            if node.name in wanted:
                found[node.name] = safe(ours[node])
            if len(found) == len(wanted):
                break
            if node.op == "placeholder":
                ours[node] = safe(ours[node])
        part.output(tuple(found[self._nodes[layer]] for layer in layers))
        module = fx.GraphModule(self.model, part)
        module.graph.eliminate_dead_code(lambda node: node.is_impure() or node.name in kept)
        module.delete_all_unused_submodules()
        module.recompile()
        self._extractors[layers] = module.eval().requires_grad_(False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the cut graphs: they are cut again from the copy."""
        return {**self.__dict__, "_extractors": {}}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator] # torch's
def _prepare(network: GraphNetwork, layers: tuple[str, ...]) -> bool:
    network.cut(layers)  # for real, also while torch.compile traces
    return True


def _writes(node: fx.Node, model: nn.Module) -> bool:
    """Return whether an operation may write into its inputs."""
    if node.op == "call_module":
        inside = model.get_submodule(str(node.target)).modules()
        return any(getattr(module, "inplace", False) for module in inside)
    if node.op not in ("call_function", "call_method"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return (
        node.target in _WRITING
        or (name.endswith("_") and not name.endswith("__"))
        or "out" in node.kwargs
        or bool(node.kwargs.get("inplace"))
        or any(argument is True for argument in node.args)  # inplace, without its name
    )


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


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
