"""CLIP's two towers as shared frozen backbones: each image is encoded once for all losses."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from torch import Tensor, nn

from losskit.backbones import Backbone, FeatureNetwork, shared_backbone
from losskit.backbones.trunk import Mode
from losskit.errors import nearest
from losskit_clip.models import check_model, load_model
from losskit_clip.preprocess import ClipPreprocess, StyleClipPreprocess

Preprocess = Literal["clip", "styleclip"] | Callable[[Tensor], Tensor]


class _Whole(FeatureNetwork):
    """A loaded model, alive only while its towers are taken from it."""

    layer_names = ("embedding",)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class ImageTower(FeatureNetwork):
    """CLIP's image encoder.

    Its layers are ``"embedding"`` and, before it, ``"block0"``, ``"block1"``, ... of a transformer
    (without class token, as maps) or ``"stem"``, ``"layer1"``, ... ``"layer4"`` of a ResNet.

    Args:
        visual: an open_clip model's ``visual``.
        logit_scale: the model's own, already exponentiated.
    """

    def __init__(self, visual: Any, logit_scale: float) -> None:
        super().__init__()
        self.visual = visual
        self.logit_scale = logit_scale
        self.layer_names = (*_intermediate_names(visual), "embedding")

    def preprocess(self, data_range: tuple[float, float]) -> ClipPreprocess:
        """The model's own preprocessing."""
        config = dict(getattr(self.visual, "preprocess_cfg", None) or {})
        config.setdefault("size", getattr(self.visual, "image_size", 224))
        return ClipPreprocess.from_config(config, data_range)

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The activations of ``layers``; nothing beyond the deepest of them is computed."""
        inner = sorted({self.layer_names.index(name) for name in layers if name != "embedding"})
        if not inner:
            output = self.visual(image)
            output = output[0] if isinstance(output, tuple) else output  # CoCa: and tokens
            return (output,) * len(layers)
        if self.layer_names[0] == "stem":
            return self._resnet(image, layers)
        only = "embedding" not in layers
        output = self.visual.forward_intermediates(
            image, indices=inner, stop_early=only, intermediates_only=only
        )
        names = [self.layer_names[index] for index in inner]
        found = dict(zip(names, output["image_intermediates"], strict=True))
        if not only:
            found["embedding"] = output["image_features"]
        return tuple(found[name] for name in layers)

    def _resnet(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        # open_clip's forward_intermediates of a ResNet skips stages before its attention pool.
        found: dict[str, Tensor] = {}
        x = image
        for name in self.layer_names:
            x = (self.visual.attnpool if name == "embedding" else getattr(self.visual, name))(x)
            found[name] = x
            if found.keys() >= set(layers):
                break
        return tuple(found[name] for name in layers)


def _intermediate_names(visual: Any) -> tuple[str, ...]:
    if hasattr(visual, "layer4") and hasattr(visual, "stem"):
        return ("stem", "layer1", "layer2", "layer3", "layer4")
    blocks: Any = getattr(getattr(visual, "transformer", None), "resblocks", None)
    if blocks is None:  # a timm trunk
        blocks = getattr(getattr(visual, "trunk", None), "blocks", ())
    if not hasattr(visual, "forward_intermediates"):
        blocks = ()
    return tuple(f"block{index}" for index in range(len(blocks)))


class TextTower(FeatureNetwork):
    """CLIP's text encoder; its "image" is a batch of token ids.

    Ids are below 2**24, so float32 holds them exactly, and the sharing made for images serves text.

    Args:
        model: an open_clip model without its image tower.
    """

    layer_names = ("embedding",)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The embeddings, not normalised."""
        return (self.model.encode_text(image.long()),) * len(layers)


def build_whole(model: str | nn.Module, weights: str | None) -> _Whole:
    """Load a model, for its towers to be taken from."""
    return _Whole(load_model(model, weights))


class _Held(threading.local):
    """Handles that keep a whole model alive until both its towers are taken."""

    handles: list[Backbone] | None = None


_HELD = _Held()


@contextlib.contextmanager
def one_reading() -> Iterator[None]:
    """Inside this block a model is read once, whichever of its towers are taken."""
    outer = _HELD.handles
    _HELD.handles = [] if outer is None else outer
    try:
        yield
    finally:
        _HELD.handles = outer


def _whole(model: str | nn.Module, weights: str | None) -> Backbone:
    handle = shared_backbone(build_whole, model, weights, layers="embedding")
    if _HELD.handles is not None:
        _HELD.handles.append(handle)
    return handle


def build_image_tower(model: str | nn.Module, weights: str | None) -> ImageTower:
    """The image tower alone; the text tower is let go unless somebody holds it."""
    whole: Any = _whole(model, weights).network
    scale = getattr(whole.model, "logit_scale", None)
    return ImageTower(whole.model.visual, 100.0 if scale is None else float(scale.exp()))


def build_text_tower(model: str | nn.Module, weights: str | None) -> TextTower:
    """The text tower alone."""
    whole: Any = _whole(model, weights).network
    text = copy.copy(whole.model)
    text.__dict__["_modules"] = {k: v for k, v in text._modules.items() if k != "visual"}
    return TextTower(text)


def text_tower(model: str | nn.Module, weights: str | None) -> Backbone:
    """A handle on the model's text tower."""
    return shared_backbone(build_text_tower, model, weights, layers="embedding")


def image_tower(
    model: str | nn.Module,
    weights: str | None,
    preprocess: Preprocess,
    span: tuple[float, float],
    mode: Mode,
    layers: Iterable[str],
) -> Backbone:
    """A handle on the model's image tower.

    Raises:
        ValueError: the model, its weights, a layer or ``preprocess`` are unknown.
        WeightsError: the weights cannot be had.
    """
    model, weights = check_model(model, weights)
    plain = shared_backbone(build_image_tower, model, weights, layers="embedding")
    tower: Any = plain.network
    if callable(preprocess):
        transform: Callable[[Tensor], Tensor] = preprocess
    elif preprocess == "clip":
        transform = tower.preprocess(span)
    elif preprocess == "styleclip":
        transform = StyleClipPreprocess(pool_size=tower.preprocess(span).size[0])
    else:
        raise ValueError(
            f"preprocess must be 'clip', 'styleclip' or a callable, not {preprocess!r}"
            + nearest(str(preprocess), ("clip", "styleclip"))
        )
    return shared_backbone(
        build_image_tower,
        model,
        weights,
        layers=layers,
        transform=transform,
        precision=mode.precision,
        channels_last=mode.channels_last,
        compile=mode.compile,
    )
