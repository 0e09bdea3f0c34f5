"""The face networks by name, with their weights."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from losskit.backbones import EmbeddingNetwork, FeatureNetwork
from losskit.errors import WeightsError, nearest
from losskit.text import one_line
from losskit.weights import load_weights, random_seed
from losskit_identity.arcface import ArcFaceIRSE50, load_arcface

NAMES = ("ArcFace", "FaceNet")
DEFAULT_WEIGHTS = {"ArcFace": "arcface-ir-se50", "FaceNet": "facenet-vggface2"}
INPUT_SIZES = {"ArcFace": 112, "FaceNet": 160}
#: facenet-pytorch's names of its weights.
_ALIASES = {"vggface2": "facenet-vggface2", "casia-webface": "facenet-casia-webface"}


class FaceNet(FeatureNetwork):
    """facenet-pytorch's InceptionResnetV1 for faces of 160x160 in [-1, 1].

    Layers: ``"repeat_1"``, ``"repeat_2"``, ``"repeat_3"`` and ``"embedding"`` (512 numbers, length 1).
    """

    layer_names = ("repeat_1", "repeat_2", "repeat_3", "embedding")
    _STEPS = (
        (
            *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a"),
            *("conv2d_3b", "conv2d_4a", "conv2d_4b", "repeat_1"),
        ),
        ("mixed_6a", "repeat_2"),
        ("mixed_7a", "repeat_3"),
    )

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The activations of ``layers``; nothing beyond the deepest of them is computed."""
        found: dict[str, Tensor] = {}
        x = image
        for steps in self._STEPS:
            for step in steps:
                x = getattr(self.network, step)(x)
            found[steps[-1]] = x
            if found.keys() >= set(layers):
                return tuple(found[name] for name in layers)
        x = self.network.avgpool_1a(self.network.block8(x)).flatten(1)
        found["embedding"] = F.normalize(self.network.last_bn(self.network.last_linear(x)))
        return tuple(found[name] for name in layers)


def face_network_name(
    facenet: str | nn.Module | Mapping[str, Any], weights: str | Path | None, allow_import: bool
) -> tuple[str | nn.Module, str | None]:
    """Check ``facenet=`` and ``weights=`` and fill in the default weights.

    Raises:
        ValueError: the name is unknown, weights are given twice, or an import path is given without
            ``allow_import=True``.
        TypeError: ``facenet`` is none of a name, a module and MMagic's mapping, or ``weights`` is
            neither a name nor a path.
    """
    if isinstance(facenet, Mapping):  # MMagic: dict(type="ArcFace", ir_se50_weights=None)
        for key in facenet:
            if key not in ("type", "ir_se50_weights", "device"):
                raise ValueError(
                    f"facenet has no key {key!r}{nearest(str(key), ('type', 'ir_se50_weights'))}; "
                    "it takes type and ir_se50_weights"
                )
        given = facenet.get("ir_se50_weights")
        if weights is not None and given is not None:
            raise ValueError(
                f"weights={weights!r} and ir_se50_weights={given!r} say two things: use one of them"
            )
        weights = weights or given
        facenet = facenet.get("type", "ArcFace")
    if weights is not None and not isinstance(weights, (str, Path)):
        raise TypeError(f"weights must be a name, a path or 'random', not {weights!r}")
    weights = None if weights is None else str(weights)
    if isinstance(facenet, nn.Module):
        if weights is not None:
            raise ValueError(
                f"weights={weights!r} does not go with a facenet that is given as an object: "
                "load them into it, and leave weights out"
            )
        return facenet, None
    if not isinstance(facenet, str):
        raise TypeError(f"facenet must be a name, 'module:factory' or a module, not {facenet!r}")
    if ":" in facenet:
        if not allow_import:
            raise ValueError(
                f"facenet={facenet!r} would import code that a config names: "
                "say allow_import=True if you trust it"
            )
        return facenet, weights
    if facenet not in NAMES:
        raise ValueError(
            f"facenet must be one of {', '.join(NAMES)}, 'module:factory' or a module, "
            f"not {facenet!r}{nearest(facenet, NAMES)}"
        )
    weights = weights or DEFAULT_WEIGHTS[facenet]
    return facenet, _ALIASES.get(weights, weights) if facenet == "FaceNet" else weights


def build_face_network(facenet: str | nn.Module, weights: str | None) -> FeatureNetwork:
    """The network behind a name, import path or object.

    Raises:
        WeightsError: the weights cannot be had or do not fit.
    """
    if isinstance(facenet, nn.Module):
        return _embedding(copy.deepcopy(facenet))  # frozen for good, and the caller's must not be
    if ":" in facenet:
        return _imported(facenet, weights)
    seed = random_seed(weights)
    if seed is not None:
        torch.manual_seed(seed)
        return ArcFaceIRSE50() if facenet == "ArcFace" else FaceNet(InceptionResnetV1())
    assert weights is not None
    state = load_weights(weights)
    try:
        return load_arcface(state) if facenet == "ArcFace" else load_facenet(state)
    except RuntimeError as error:
        raise _misfit(weights, facenet, error) from error


def load_facenet(state: Mapping[str, Tensor]) -> FaceNet:
    """facenet-pytorch's network with a published checkpoint's weights; every key must fit.

    Left out is ``logits.*`` alone, the classifier over the training set's people: it is no part of the
    embedding.

    Raises:
        RuntimeError: other keys are missing, superfluous or of another shape.
    """
    network = InceptionResnetV1()
    network.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits.")})
    return FaceNet(network)


def _imported(path: str, weights: str | None) -> FeatureNetwork:
    module, _, attribute = path.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"facenet={path!r} cannot be imported: {one_line(error)}") from error
    network = made() if not isinstance(made, nn.Module) else copy.deepcopy(made)
    if not isinstance(network, nn.Module):
        raise TypeError(f"facenet={path!r} makes {type(network).__name__}, not an nn.Module")
    if weights is not None and random_seed(weights) is None:
        state = load_weights(weights)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise _misfit(weights, path, error) from error
    return _embedding(network)


class _Embedding(EmbeddingNetwork):
    """A network of the user's, whose output is looked at."""

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        (output, *_) = found = super().forward(image, layers)
        if not isinstance(output, Tensor) or len(output) != len(image):
            kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise TypeError(
                f"facenet ({type(self.network).__name__}) must return one tensor of embeddings, "
                f"(b, ...), not {kind}"
            )
        return found


def _embedding(network: nn.Module) -> FeatureNetwork:
    return network if isinstance(network, FeatureNetwork) else _Embedding(network)


def _misfit(weights: str, network: str, error: Exception) -> WeightsError:
    return WeightsError(f"{weights!r} does not fit {network}: {one_line(error)[:300]}")
