"""GANObjective with CLIP losses by config alone: text beside the batch, gradients in the generator."""

from __future__ import annotations

import json
from typing import Any

import open_clip
import pytest
import torch
import yaml
from torch import nn

from losskit_gan import GANObjective, GANWithCustomizedLoss

CONFIG = """
gan_loss: {type: GANLoss, gan_type: hinge, loss_weight: 0.1}
gen_auxiliary_loss:
  - type: CLIPLoss
    model: tiny-clip
    weights: random:3
    data_range: [-1, 1]
    loss_weight: 0.5
    data_info: {image: fake_imgs, text: descriptions}
  - type: CLIPDirectionalLoss
    target_text: sketch
    templates: null
    model: tiny-clip
    weights: random:3
    data_range: [-1, 1]
    loss_weight: 0.25
    data_info: {pred: fake_imgs, source: real_imgs}
"""
TEXTS = ["a red square", "a photo of a cat"]


@pytest.fixture(scope="module", autouse=True)
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A small model that a config can name, as open_clip's own are named."""
    path = tmp_path_factory.mktemp("models") / "tiny-clip.json"
    vision = {"image_size": 16, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)


def _networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4)), nn.Upsample(scale_factor=4), nn.Tanh()
    )
    return generator, nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1))


def test_by_config_alone_gradients_reach_the_generator() -> None:
    objective = GANObjective(**yaml.safe_load(CONFIG))
    generator, discriminator = _networks()
    noise, real = torch.randn(2, 4), torch.rand(2, 3, 16, 16) * 2 - 1
    fake = generator(noise)
    out = objective.generator(
        fake_imgs=fake, real_imgs=real, descriptions=TEXTS, disc_pred_fake=discriminator(fake)
    )
    assert set(out.logs) == {"loss_gen", "loss_clip", "loss_clip_directional"}
    out.total.backward()

    # The same by open_clip alone, on the weights that random:3 stands for.
    terms: Any = {term.name: term.loss for term in objective.gen_objective.terms}  # type: ignore[union-attr]
    visual = terms["loss_clip"].backbone.network.visual
    assert terms["loss_clip_directional"].backbone.network.visual is visual
    encoder = terms["loss_clip"].encoder.tower.network.model
    twin, _ = _networks()
    mean, std = (torch.tensor(visual.preprocess_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))

    def embed(image: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(visual(((image + 1) / 2 - mean) / std), dim=-1)

    fake = twin(noise)
    with torch.no_grad():
        texts = encoder.encode_text(open_clip.tokenize(TEXTS), normalize=True)
        both = encoder.encode_text(open_clip.tokenize(["sketch", "photo"]), normalize=True)
    clip = (1 - (embed(fake) * texts).sum(-1)).mean()
    change = embed(fake) - embed(real)
    turned = (1 - nn.functional.cosine_similarity(change, (both[0] - both[1])[None])).mean()
    total = 0.5 * clip + 0.25 * turned - 0.1 * discriminator(fake).mean()
    torch.testing.assert_close(out.logs["loss_clip"], 0.5 * clip.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.total, total, atol=1e-5, rtol=1e-4)
    total.backward()
    for ours, theirs in zip(generator.parameters(), twin.parameters(), strict=True):
        assert ours.grad is not None
        assert ours.grad.any()
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)


def test_descriptions_come_with_the_batch() -> None:
    generator, discriminator = _networks()
    model = GANWithCustomizedLoss(generator, discriminator, **yaml.safe_load(CONFIG), latent_dim=4)
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), 1e-2),
        "discriminator": torch.optim.Adam(discriminator.parameters(), 1e-2),
    }
    before = [p.detach().clone() for p in generator.parameters()]
    real = torch.rand(2, 3, 16, 16) * 2 - 1
    logs = model.train_step({"real_imgs": real, "descriptions": TEXTS}, optimizers)
    assert {"loss_clip", "loss_clip_directional", "loss_gen", "loss_disc_fake"} <= set(logs)
    assert all(not torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))


def test_a_wrong_number_of_descriptions_is_named() -> None:
    with pytest.raises(ValueError, match=r"one text per image, not 3 for 2"):
        GANObjective(**yaml.safe_load(CONFIG)).generator(
            fake_imgs=torch.zeros(2, 3, 16, 16),
            real_imgs=torch.zeros(2, 3, 16, 16),
            descriptions=[*TEXTS, "one too many"],
            disc_pred_fake=torch.zeros(2, 1),
        )
