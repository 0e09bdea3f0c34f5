"""The transferal loss against its two published forms, written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losskit_perceptual.transferal import TransferalPerceptualLoss


@pytest.fixture
def levels() -> tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]]:
    shapes = [(2, 8, 4, 5), (2, 4, 8, 10), (2, 2, 16, 20)]
    maps = [torch.rand(shape, requires_grad=True) for shape in shapes]
    return maps, torch.randn(2, 1, 4, 5), [torch.rand(shape) for shape in shapes]


def _resized(soft: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(soft, scale_factor=factor, mode="bicubic", align_corners=False)


def test_mmagic_form(levels: tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]]) -> None:
    maps, soft, textures = levels
    softs = [1 / (1 + torch.exp(-soft)), _resized(soft, 2), _resized(soft, 4)]
    expected = sum(
        ((m - t) * s).square().mean() for m, t, s in zip(maps, textures, softs, strict=True)
    )
    torch.testing.assert_close(TransferalPerceptualLoss()(maps, soft, textures), expected)


def test_paper_form(levels: tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]]) -> None:
    maps, soft, textures = levels
    softs = [soft, _resized(soft, 2), _resized(soft, 4)]
    expected = sum(
        ((m - t) / (1 + torch.exp(-s))).abs().mean()
        for m, t, s in zip(maps, textures, softs, strict=True)
    )
    loss = TransferalPerceptualLoss(criterion="l1", form="paper")
    torch.testing.assert_close(loss(maps, soft, textures), expected / 3)


def test_without_attention(
    levels: tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]],
) -> None:
    maps, soft, textures = levels
    loss = TransferalPerceptualLoss(use_attention=False)
    expected = sum(F.mse_loss(m, t) for m, t in zip(maps, textures, strict=True))
    torch.testing.assert_close(loss(maps, soft, textures), expected)


def test_errors_name_the_argument(
    levels: tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]],
) -> None:
    maps, soft, textures = levels
    with pytest.raises(ValueError, match="number of levels, not 3 and 2"):
        TransferalPerceptualLoss()(maps, soft, textures[:2])
    with pytest.raises(ValueError, match=r"maps\[1\] must be \(8, 10\) pixels"):
        TransferalPerceptualLoss()([maps[0], maps[0]], soft, [textures[0], textures[0]])
    with pytest.raises(ValueError, match="not 'l3'"):
        TransferalPerceptualLoss(criterion="l3")  # type: ignore[arg-type]
