"""Several CLIP losses on one pair of images: one pass per image."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import open_clip
import pytest
import torch

from losskit import shared_features
from losskit_clip import CLIPDirectionalLoss, CLIPImageLoss, CLIPLoss
from losskit_clip.examples import tiny_clip


def test_three_losses_encode_each_image_once() -> None:
    model = copy.deepcopy(tiny_clip())
    losses = [
        CLIPLoss("a cat", model=model),
        CLIPDirectionalLoss("sketch", templates=None, model=model),
        CLIPImageLoss({"block0": 1.0, "embedding": 1.0}, model=model),
    ]
    target = torch.rand(1, 3, 16, 16)
    for step in range(1, 4):
        pred = torch.rand(1, 3, 16, 16, requires_grad=True)
        with shared_features():
            total = losses[0](pred) + losses[1](pred, target) + losses[2](pred, target)
        total.backward()
        assert losses[0].backbone.passes == step + 1  # each pred once, the target once in all
    assert pred.grad is not None


def test_a_model_is_read_once_for_both_towers_and_all_losses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def create_model(name: str, **_: object) -> object:
        asked.append(name)
        return copy.deepcopy(tiny_clip())

    monkeypatch.setattr(open_clip, "create_model", create_model)
    options = {"model": "RN101", "weights": "random"}
    losses: list[Any] = [CLIPLoss("a cat", **options), CLIPLoss("a dog", **options)]  # type: ignore[arg-type]
    losses.append(CLIPDirectionalLoss("sketch", templates=None, **options))  # type: ignore[arg-type]
    losses.append(CLIPImageLoss(**options))  # type: ignore[arg-type]
    assert asked == ["RN101"]
    assert len({id(loss.backbone.network) for loss in losses}) == 1


def test_the_plugin_module_imports_neither_torch_nor_open_clip() -> None:
    code = (
        "import sys, losskit_clip.plugin as p; p.losskit_losses(); "
        "print([m for m in ('torch', 'open_clip', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
