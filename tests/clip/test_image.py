"""CLIPImageLoss against activations taken from open_clip's own modules by hooks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from losskit_clip import CLIPImageLoss, clip_feature_loss
from losskit_clip.examples import tiny_clip


def _hooked(model: Any, modules: dict[str, Any], image: torch.Tensor) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, out, name=name: found.update({name: out.clone()})
        )
        for name, module in modules.items()
    ]
    config = model.visual.preprocess_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        found["embedding"] = model.encode_image((image - mean) / std)
    for hook in hooks:
        hook.remove()
    return found


def test_resnet_layers_equal_hooks(rn50: Any) -> None:
    pred, target = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224)
    layers = {"layer2": 1.0, "layer3": 0.5, "embedding": 0.1}
    modules = {"layer2": rn50.visual.layer2, "layer3": rn50.visual.layer3}
    left, right = _hooked(rn50, modules, pred), _hooked(rn50, modules, target)
    with torch.no_grad():
        parts = CLIPImageLoss(layers=layers, model=rn50).components(pred, target)
    for name in ("layer2", "layer3"):
        expected = layers[name] * F.mse_loss(left[name], right[name])
        torch.testing.assert_close(parts[name], expected, atol=1e-5, rtol=1e-4)
    cosine = F.cosine_similarity(left["embedding"], right["embedding"])
    torch.testing.assert_close(parts["embedding"], 0.1 * (1 - cosine[0]), atol=1e-5, rtol=1e-4)


def test_transformer_blocks_equal_hooks(vit_b_32: Any) -> None:
    pred, target = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224)
    block = vit_b_32.visual.transformer.resblocks[5]
    left, right = (_hooked(vit_b_32, {"block5": block}, x)["block5"][:, 1:] for x in (pred, target))
    with torch.no_grad():
        value = CLIPImageLoss(layers={"block5": 2.0}, criterion="l1", model=vit_b_32)(pred, target)
    torch.testing.assert_close(value, 2 * (left - right).abs().mean(), atol=1e-5, rtol=1e-4)


def test_a_block_and_the_embedding_come_from_one_pass(vit_b_32: Any) -> None:
    pred, target = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224)
    block = vit_b_32.visual.transformer.resblocks[5]
    left, right = (_hooked(vit_b_32, {"block5": block}, x) for x in (pred, target))
    with torch.no_grad():
        loss = CLIPImageLoss(
            layers={"block5": 2.0, "embedding": 3.0}, criterion="l1", model=vit_b_32
        )
        parts = loss.components(pred, target)
    expected = 2 * (left["block5"] - right["block5"])[:, 1:].abs().mean()
    torch.testing.assert_close(parts["block5"], expected, atol=1e-5, rtol=1e-4)
    cosine = F.cosine_similarity(left["embedding"], right["embedding"])[0]
    torch.testing.assert_close(parts["embedding"], 3 * (1 - cosine), atol=1e-5, rtol=1e-4)


def _darker(image: torch.Tensor) -> torch.Tensor:
    return 0.2 * image[..., :16, :16] - 0.7


def test_a_preprocess_of_ones_own_is_used_and_its_range_is_its_own() -> None:
    model = tiny_clip()
    pred, target = (torch.rand(2, 3, 20, 24) * 40 - 20 for _ in range(2))  # no warning either
    loss = CLIPImageLoss(model=model, preprocess=_darker, reduction="none")
    with torch.no_grad():
        expected = 1 - F.cosine_similarity(
            *(model.encode_image(_darker(x)) for x in (pred, target))
        )
        torch.testing.assert_close(loss(pred, target), expected, atol=1e-5, rtol=1e-4)


def test_embedding_alone_is_the_default_and_0_at_equal_images() -> None:
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    loss = CLIPImageLoss(model=tiny_clip(), reduction="none")
    value = loss(image, image.detach().clone())
    torch.testing.assert_close(value, torch.zeros(2), atol=1e-6, rtol=0)
    value.sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_target_never_gets_a_gradient() -> None:
    pred, target = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    CLIPImageLoss(model=tiny_clip())(pred, target).backward()
    assert target.grad is None
    assert pred.grad is not None


def test_criteria() -> None:
    pred, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert clip_feature_loss(pred, target, criterion="mse") == pytest.approx(
        float(F.mse_loss(pred, target)), rel=1e-5
    )
    assert clip_feature_loss(pred, target, criterion="l1") == pytest.approx(
        float(F.l1_loss(pred, target)), rel=1e-5
    )
    cosine = F.cosine_similarity(pred.flatten(1), target.flatten(1))
    assert clip_feature_loss(pred, target) == pytest.approx(float(1 - cosine.mean()), rel=1e-4)
    with pytest.raises(ValueError, match="not 'cosin'; did you mean 'cosine'"):
        clip_feature_loss(pred, target, criterion="cosin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no layer 'block9'; did you mean 'block1'"):
        CLIPImageLoss(layers={"block9": 1.0}, model=tiny_clip())
    with pytest.raises(ValueError, match="at least one layer"):
        CLIPImageLoss(layers={}, model=tiny_clip())
