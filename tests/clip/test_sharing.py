"""Several CLIP losses on one pair of images: one pass per image."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from processes import imported_by

from losskit import shared_features
from losskit_clip import CLIPDirectionalLoss, CLIPImageLoss, CLIPLoss, CLIPPatchLoss
from losskit_clip.examples import tiny_clip


def test_three_losses_encode_each_image_once() -> None:
    model = copy.deepcopy(tiny_clip())
    losses = [
        CLIPLoss("a cat", model=model),
        CLIPDirectionalLoss("sketch", templates=None, model=model),
        CLIPImageLoss(layers={"block0": 1.0, "embedding": 1.0}, model=model),
    ]
    target = torch.rand(1, 3, 16, 16)
    for step in range(1, 4):
        pred = torch.rand(1, 3, 16, 16, requires_grad=True)
        with shared_features():
            total = losses[0](pred) + losses[1](pred, target) + losses[2](pred, target)
        total.backward()
        assert losses[0].backbone.passes == step + 1  # each pred once, the target once in all
    assert pred.grad is not None


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are read, by name; each is a small one."""
    asked: list[str] = []

    def create_model(name: str, **_: object) -> object:
        asked.append(name)
        return copy.deepcopy(tiny_clip())

    monkeypatch.setattr(open_clip, "create_model", create_model)
    return asked


RN101: Any = {"model": "RN101", "weights": "random"}


def test_a_model_is_read_once_for_both_towers_and_all_losses(readings: list[str]) -> None:
    losses: list[Any] = [CLIPLoss("a cat", **RN101), CLIPLoss("a dog", **RN101)]
    losses.append(CLIPDirectionalLoss("sketch", templates=None, **RN101))
    losses.append(CLIPPatchLoss("sketch", templates=None, num_patches=2, patch_size=8, **RN101))
    losses.append(CLIPImageLoss(**RN101))
    assert readings == ["RN101"]
    assert len({id(loss.backbone.network) for loss in losses}) == 1


def _text_parameter(loss: Any) -> weakref.ref[Any]:
    """A look at the text tower that does not keep it alive."""
    return weakref.ref(loss.encoder.tower.network.model.token_embedding.weight)


MAKERS: dict[str, Callable[..., Any]] = {
    "text": lambda **more: CLIPLoss("a cat", **RN101, **more),
    "directional": lambda **more: CLIPDirectionalLoss("sketch", templates=None, **RN101, **more),
    "patches": lambda **more: CLIPPatchLoss(
        "sketch",
        templates=None,
        num_patches=2,
        patch_size=8,
        threshold=0.0,
        seed=0,
        **RN101,
        **more,
    ),
}


@pytest.mark.parametrize("kind", list(MAKERS))
def test_text_towers_are_freed_when_asked_whoever_holds_them(
    kind: str, readings: list[str]
) -> None:
    image, source = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    holder = CLIPLoss(negative_prompts="blurred", **RN101)  # takes texts with its call
    before = holder(image, "a cat")
    kept = MAKERS[kind]()
    tower = _text_parameter(holder)
    assert _text_parameter(kept)() is tower()
    gc.collect()
    assert tower() is not None
    freed = MAKERS[kind](free_text=True)
    gc.collect()
    assert tower() is None  # its parameters are gone, not only this loss's hold on them
    inputs = (image, source) if kind == "directional" else (image,)
    torch.testing.assert_close(freed(*inputs), kept(*inputs))
    assert readings == ["RN101"]
    # A known text needs no tower; a new one reads the model again, once.
    torch.testing.assert_close(holder(image, "a cat"), before)
    assert readings == ["RN101"]
    holder(image, "a dog")
    holder(image, "a cow")
    assert readings == ["RN101"] * 2
    copied = copy.deepcopy(holder)
    torch.testing.assert_close(copied(image, "a cat"), before)
    assert readings == ["RN101"] * 2


def test_a_copy_shares_a_model_given_as_an_object() -> None:
    model = copy.deepcopy(tiny_clip())
    loss = CLIPLoss("a cat", model=model)
    twin = copy.deepcopy(loss)
    assert twin.encoder.model is model
    twin.encoder.texts(["only the copy's"], torch.device("cpu"))
    assert "only the copy's" not in loss.encoder._texts
    both = pickle.loads(pickle.dumps(loss))
    assert both.encoder.model is both.backbone.args[0]


def test_the_plugin_module_imports_neither_torch_nor_open_clip() -> None:
    code = "import losskit_clip.plugin as p; p.losskit_losses()"
    assert imported_by(code, "torch", "open_clip", "numpy") == []
