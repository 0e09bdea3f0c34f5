"""The models that CLIP's tests share: building one takes seconds."""

from __future__ import annotations

import logging
from typing import Any

import open_clip
import pytest
import torch


def _model(name: str) -> Any:
    logging.disable(logging.WARNING)  # "initialized randomly": that is meant
    torch.manual_seed(1)
    model = open_clip.create_model(name).eval()
    for parameter in model.visual.parameters():
        # A fresh ResNet's last norm of each block is 0, which would leave its blocks untested.
        if parameter.ndim == 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    logging.disable(logging.NOTSET)
    return model


@pytest.fixture(scope="session")
def rn50() -> Any:
    return _model("RN50")


@pytest.fixture(scope="session")
def vit_b_32() -> Any:
    return _model("ViT-B-32")
