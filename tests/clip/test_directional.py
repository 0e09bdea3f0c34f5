"""Directional loss: closed forms, and StyleGAN-NADA's arithmetic written out."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F

from losskit_clip import CLIPDirectionalLoss, clip_directional_loss
from losskit_clip.examples import tiny_clip


def test_closed_forms() -> None:
    right = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    up = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    left = -right

    def value(pred: torch.Tensor, source: torch.Tensor, direction: torch.Tensor) -> float:
        return float(clip_directional_loss(pred, source, direction, eps=1e-9))

    assert value(up, right, up - right) == pytest.approx(0, abs=1e-9)
    assert value(up, right, right - up) == pytest.approx(2, abs=1e-9)
    assert value(up, right, up + right) == pytest.approx(1, abs=1e-9)
    # Lengths do not count, neither of embeddings nor of the direction.
    assert value(5 * left, 3 * right, 7 * left) == pytest.approx(0, abs=1e-9)
    assert value(right, right, up) == 1
    # From right to left the change is (-2, 0); against (-1, 1) the cosine is sqrt(1/2).
    assert value(left, right, left + up) == pytest.approx(1 - 0.5**0.5, abs=1e-9)


def test_gradient_is_finite_and_useful_at_no_change() -> None:
    source = F.normalize(torch.randn(2, 8), dim=-1)
    pred = source.clone().requires_grad_()
    direction = torch.randn(1, 8)
    clip_directional_loss(pred, source, direction).backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()
    assert pred.grad.norm(dim=-1).max() <= 1e4
    stepped = (pred - 1e-6 * pred.grad).detach()
    assert clip_directional_loss(stepped, source, direction) < 1


def test_default_eps_hardly_differs_from_the_paper() -> None:
    torch.manual_seed(0)
    pred, source, direction = (torch.randn(4, 16, dtype=torch.float64) for _ in range(3))
    change = F.normalize(pred) - F.normalize(source)
    expected = 1 - F.cosine_similarity(change, direction)
    ours = clip_directional_loss(pred, source, direction, reduction="none")
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


def test_equals_stylegan_nada_on_a_real_model(vit_b_32: Any) -> None:
    templates = ["a photo of a {}.", "a rendering of a {}.", "a {} in a video game."]
    loss = CLIPDirectionalLoss(
        "sketch", source_text="photo", model=vit_b_32, templates=templates, reduction="none"
    )
    pred, source = torch.rand(2, 3, 224, 224), torch.rand(2, 3, 224, 224)
    config = vit_b_32.visual.preprocess_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        text = [
            vit_b_32.encode_text(
                open_clip.tokenize([t.format(word) for t in templates]), normalize=True
            )
            for word in ("sketch", "photo")
        ]
        direction = F.normalize((text[0] - text[1]).mean(0, keepdim=True), dim=-1)
        images = [vit_b_32.encode_image((x - mean) / std, normalize=True) for x in (pred, source)]
        expected = 1 - F.cosine_similarity(images[0] - images[1], direction)
        torch.testing.assert_close(loss(pred, source), expected, atol=1e-5, rtol=1e-4)


def _darker(image: torch.Tensor) -> torch.Tensor:
    return 0.2 * image[..., :16, :16] - 0.7


def test_a_preprocess_of_ones_own_is_used_and_its_range_is_its_own() -> None:
    model = tiny_clip()
    pred, source = (torch.rand(2, 3, 20, 24) * 40 - 20 for _ in range(2))  # no warning either
    loss = CLIPDirectionalLoss(
        "sketch", templates=None, model=model, preprocess=_darker, reduction="none"
    )
    with torch.no_grad():
        texts = model.encode_text(open_clip.tokenize(["sketch", "photo"]), normalize=True)
        images = [model.encode_image(_darker(x), normalize=True) for x in (pred, source)]
        expected = 1 - F.cosine_similarity(images[0] - images[1], (texts[0] - texts[1])[None])
        torch.testing.assert_close(loss(pred, source), expected, atol=1e-3, rtol=1e-3)


def test_precision_reaches_the_tower() -> None:
    pair = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    options: dict[str, Any] = {"templates": None, "model": tiny_clip()}
    exact = CLIPDirectionalLoss("sketch", **options)(*pair)
    rounded = CLIPDirectionalLoss("sketch", **options, precision="bf16")(*pair)
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, atol=0.1, rtol=0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="both 'photo'"):
        CLIPDirectionalLoss("photo", model=tiny_clip(), templates=None)
    with pytest.raises(ValueError, match="eps must be positive, not 0"):
        CLIPDirectionalLoss("sketch", model=tiny_clip(), templates=None, eps=0)
    with pytest.raises(TypeError, match=r"target_text must be a text, not \['sketch'\]"):
        CLIPDirectionalLoss(["sketch"], model=tiny_clip(), templates=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"direction must have the shape \(1, d\) or \(2, 4\)"):
        clip_directional_loss(torch.rand(2, 4), torch.rand(2, 4), torch.rand(3, 4))
    loss = CLIPDirectionalLoss("sketch", model=tiny_clip(), templates=None)
    with pytest.raises(ValueError, match="pred and source must have one shape"):
        loss(torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8))
