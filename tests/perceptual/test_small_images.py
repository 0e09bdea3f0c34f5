"""Images too small for a network are answered with the smallest size that fits."""

from __future__ import annotations

import re

import pytest
import torch

import losskit
from losskit.errors import ImageTooSmallError

LOSSES = {
    "PerceptualLoss": {"data_range": 1.0},
    "StyleLoss": {},
    "ContextualLoss": {},
    "LPIPS": {},
    "FeatureDistance": {"backbone": "vgg16"},
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_size_named_is_the_smallest_that_fits(name: str) -> None:
    loss = losskit.create(name, weights="random", **LOSSES[name])
    image = torch.rand(1, 3, 2, 40, requires_grad=True)
    with pytest.raises(ImageTooSmallError, match=f"{name}: pred: an image of 2x40") as raised:
        loss(image, image.detach())
    assert "\n" not in str(raised.value)
    least = int(re.search(r"at least (\d+)", str(raised.value))[1])
    fits = torch.rand(1, 3, least, least)
    assert torch.isfinite(loss(fits, fits))
    below = torch.rand(1, 3, least - 1, least - 1)
    with pytest.raises(ImageTooSmallError):
        loss(below, below)


def test_other_errors_of_a_network_stay_as_they_are() -> None:
    loss = losskit.create("PerceptualLoss", weights="random", use_input_norm=False)
    with pytest.raises(RuntimeError, match=r"expected input.*to have 3 channels"):
        loss.backbone.features(torch.rand(1, 4, 64, 64))
