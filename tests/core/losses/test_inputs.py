"""What every image loss refuses, with the argument's name and the value."""

from __future__ import annotations

import pytest
import torch

from losskit.losses.checks import check_layers, check_maps, check_rgb


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([1.0], TypeError, "pred must be a tensor, not list"),
        (torch.zeros(1, 3, 4, 4).byte(), TypeError, "floating-point tensor, not torch.uint8"),
        (
            torch.zeros(3, 4, 4),
            ValueError,
            r"pred must have the shape \(b, 3, h, w\), not \(3, 4, 4\)",
        ),
        (torch.zeros(1, 1, 4, 4), ValueError, r"not \(1, 1, 4, 4\)"),
    ],
)
def test_images(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_rgb("pred", image)
    check_rgb("pred", torch.zeros(1, 3, 1, 1, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ({}, ValueError, "at least one layer"),
        (["embedding"], TypeError, r"layers must map names to weights, .*not \['embedding'\]"),
        ("embedding", TypeError, "not 'embedding'"),
        ({"a": "1"}, TypeError, r"layers\['a'\] must be a number, not '1'"),
        ({"a": True}, TypeError, "not True"),
        ({"a": float("nan")}, ValueError, r"layers\['a'\] must be finite, not nan"),
    ],
)
def test_layers(layers: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_layers(layers)  # type: ignore[arg-type]
    given = {"a": 1}
    own = check_layers(given)
    assert own == {"a": 1.0}
    assert own is not given


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3, 8, 8), r"for one image \(c, h, w\) add the batch's axis"),
        ((8, 8, 3), r"for one image \(h, w, c\) use \.permute\(2, 0, 1\)"),
        ((2, 8, 8, 3), "channels seem to be last"),
        ((2, 5, 3, 8, 8), r"put time into the batch with \.flatten\(0, 1\)"),
        ((2, 4, 8, 8), "drop RGBA's alpha"),
        ((2, 1, 8, 8), "repeat a grey image's channel"),
        ((0, 3, 8, 8), "must hold at least one pixel"),
    ],
)
def test_says_what_is_wrong_with_rank_layout_or_channels(shape, hint) -> None:
    with pytest.raises(ValueError, match=hint) as raised:
        check_rgb("pred", torch.rand(shape))
    assert str(shape) in str(raised.value)


@pytest.mark.parametrize("shape", [(2, 16, 16, 3), (1, 64, 48, 4)])
def test_maps_of_channels_that_stand_last(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="channels seem to be last, so turn it with "):
        check_maps("pred", torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 64, 3), (1, 16, 4, 4), (1, 512, 8, 3), (1, 1, 5, 4)])
def test_maps_of_any_channels_and_sides(shape: tuple[int, ...]) -> None:
    check_maps("pred", torch.zeros(shape))
