"""CLIPLoss against open_clip itself, its prompts, and descent on pixels."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import image_transform_v2

import losskit
from losskit import shared_features
from losskit.errors import ConfigError, RangeWarning
from losskit_clip import CLIPLoss, clip_text_loss
from losskit_clip.examples import tiny_clip

TEXTS = ["a photo of a cat", "a red square"]


@pytest.mark.parametrize("name", ["rn50", "vit_b_32"])
def test_equals_open_clip(name: str, request: pytest.FixtureRequest) -> None:
    model: Any = request.getfixturevalue(name)
    image = torch.rand(2, 3, 250, 300, generator=torch.Generator().manual_seed(0))
    ours, theirs = image.clone().requires_grad_(), image.clone().requires_grad_()
    loss = CLIPLoss(TEXTS, model=model, reduction="none")
    config = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
    transform = image_transform_v2(config, is_train=False)
    embedding = model.encode_image(torch.stack([transform(sample) for sample in theirs]))
    with torch.no_grad():
        texts = model.encode_text(open_clip.tokenize(TEXTS), normalize=True)
    expected = 1 - (F.normalize(embedding, dim=-1) @ texts.T).mean(1)
    with shared_features():
        found = loss.backbone.features(ours)["embedding"]
        value = loss(ours)
    torch.testing.assert_close(found, embedding, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    expected.sum().backward()
    value.sum().backward()
    assert ours.grad is not None
    assert ours.grad.any()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-7, rtol=1e-3)


def test_styleclip_is_one_minus_logits_over_100(vit_b_32: Any) -> None:
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    tokens = open_clip.tokenize(TEXTS)
    resized = F.avg_pool2d(F.interpolate(image, scale_factor=7, mode="nearest"), 1)
    with torch.no_grad():
        expected = 1 - vit_b_32.get_logits(resized, tokens)[0] / 100
        loss = CLIPLoss(model=vit_b_32, preprocess="styleclip", pairing="all", reduction="none")
        torch.testing.assert_close(loss(image, tokens), expected.mean(1), atol=1e-5, rtol=1e-5)


def test_mmagic_config_sets_styleclip(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    tiny = copy.deepcopy(tiny_clip())

    def create_model(name: str, **_: Any) -> Any:
        asked.append(name)
        return tiny

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setattr("losskit_clip.models._check_reachable", lambda *_: None)
    term = losskit.build(
        {
            "type": "CLIPLossComps",
            "loss_weight": 2.0,
            "clip_model": {
                "in_size": 64,
                "scale_factor": 1,
                "pool_size": 16,
                "clip_type": "ViT-B/32",
            },
            "data_info": {"image": "fake_imgs", "text": "descriptions"},
        }
    )
    image, tokens = torch.rand(2, 3, 64, 64), open_clip.tokenize(TEXTS)
    with torch.no_grad():
        logits = tiny.get_logits(F.avg_pool2d(image, 4), tokens)[0]
    value = term({"fake_imgs": image, "descriptions": tokens})
    assert asked == ["ViT-B-32"]
    assert term.name == "loss_clip"
    torch.testing.assert_close(value, 2 * (1 - logits / 100).mean(), atol=1e-5, rtol=1e-5)


def test_descent_on_pixels_raises_the_similarity(vit_b_32: Any) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    loss = CLIPLoss("a photo of a cat", model=vit_b_32)
    optimizer = torch.optim.Adam([image], lr=0.02)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(image)
        value.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        values.append(float(value.detach()))
    assert values[-1] < values[0] - 0.1
    assert values[-1] == pytest.approx(min(values), abs=0.02)


def test_weights_attract_and_repel() -> None:
    image = F.normalize(torch.randn(3, 8, dtype=torch.float64))
    text = F.normalize(torch.randn(2, 8, dtype=torch.float64))
    value = clip_text_loss(image, text, weight=torch.tensor([3.0, -1.0]), reduction="none")
    cosine = image @ text.T
    expected = (3 * (1 - cosine[:, 0]) + (1 + cosine[:, 1])) / 4
    torch.testing.assert_close(value, expected)


def test_autocast_rounds_nothing() -> None:
    image = torch.rand(2, 3, 16, 16)
    loss = CLIPLoss(["a cat", "a dog"], model=tiny_clip())
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(image)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(image), atol=1e-6, rtol=0)


def test_shapes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\(b, d\) and \(n, d\), not \(2, 4\) and \(2, 5\)"):
        clip_text_loss(torch.rand(2, 4), torch.rand(2, 5))
    with pytest.raises(ValueError, match=r"weight must hold 2 numbers, not \(3,\)"):
        clip_text_loss(torch.rand(2, 4), torch.rand(2, 4), weight=torch.ones(3))


def test_negative_prompts_are_negative_weights() -> None:
    image = torch.rand(2, 3, 16, 16)
    both = CLIPLoss({"a cat": 2.0, "a dog": -0.5}, model=tiny_clip())
    apart = CLIPLoss({"a cat": 2.0}, negative_prompts={"a dog": 0.5}, model=tiny_clip())
    called = CLIPLoss(negative_prompts={"a dog": 0.25}, model=tiny_clip())
    torch.testing.assert_close(both(image), apart(image))
    torch.testing.assert_close(called(image, "a cat"), apart(image))


def test_texts_of_the_call_meet_their_own_image() -> None:
    image = torch.rand(2, 3, 16, 16)
    loss = CLIPLoss(model=tiny_clip(), reduction="none")
    single = [loss(image[i : i + 1], TEXTS[i])[0] for i in range(2)]
    torch.testing.assert_close(loss(image, TEXTS), torch.stack(single))
    torch.testing.assert_close(loss(image, open_clip.tokenize(TEXTS)), torch.stack(single))
    with pytest.raises(ValueError, match="one text per image, not 3 for 2"):
        loss(image, ["a", "b", "c"])
    every = CLIPLoss(model=tiny_clip(), pairing="all")(image, ["a", "b", "c"])
    torch.testing.assert_close(every, CLIPLoss(["a", "b", "c"], model=tiny_clip())(image))


def test_texts_weigh_the_same_with_the_call_as_they_do_as_prompts() -> None:
    image = torch.rand(2, 3, 16, 16)
    options: dict[str, Any] = {"negative_prompts": {"a dog": 0.5}, "model": tiny_clip()}
    fixed = CLIPLoss(["a", "b", "c"], **options, reduction="none")(image)
    every = CLIPLoss(**options, pairing="all", reduction="none")(image, ["a", "b", "c"])
    torch.testing.assert_close(every, fixed)
    single = CLIPLoss(**options, pairing="all")(image, "a")
    torch.testing.assert_close(single, CLIPLoss("a", **options)(image))


def test_a_text_given_twice_counts_twice() -> None:
    image = torch.rand(2, 3, 16, 16)
    twice = CLIPLoss(["a", "b", "a"], model=tiny_clip())(image)
    torch.testing.assert_close(twice, CLIPLoss({"a": 2.0, "b": 1.0}, model=tiny_clip())(image))
    every = CLIPLoss(model=tiny_clip(), pairing="all")(image, ["a", "b", "a"])
    torch.testing.assert_close(twice, every)


def test_named_templates_are_open_clips_own() -> None:
    model, image = tiny_clip(), torch.rand(1, 3, 16, 16)
    sets = {
        "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }
    for name, templates in sets.items():
        loss = CLIPLoss("cat", model=model, templates=name)  # type: ignore[arg-type]
        with torch.no_grad():
            tokens = open_clip.tokenize([template("cat") for template in templates])
            text = model.encode_text(tokens, normalize=True).mean(0, keepdim=True)
            embedding = loss.backbone.features(image)["embedding"]
            expected = 1 - F.cosine_similarity(embedding, text)[0]
            torch.testing.assert_close(loss(image), expected, atol=1e-6, rtol=1e-5)


def test_precision_reaches_the_tower() -> None:
    image = torch.rand(2, 3, 16, 16)
    exact = CLIPLoss("a", model=tiny_clip())(image)
    rounded = CLIPLoss("a", model=tiny_clip(), precision="bf16")(image)
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0)


def test_tokens_of_one_text_are_encoded_once() -> None:
    loss = CLIPLoss(model=copy.deepcopy(tiny_clip()))
    image, one = torch.rand(1, 3, 16, 16), open_clip.tokenize(["a cat"])[0]
    values = [loss(image, one) for _ in range(3)]
    assert loss.encoder.tower is not None
    assert loss.encoder.tower.passes == 1
    torch.testing.assert_close(values[2], loss(image, "a cat"))


def test_each_text_is_encoded_once() -> None:
    image = torch.rand(2, 3, 16, 16)
    loss = CLIPLoss(model=copy.deepcopy(tiny_clip()))
    tokens = open_clip.tokenize(TEXTS)
    for _ in range(3):
        loss(image, TEXTS)
        loss(image, tokens)
    assert loss.encoder.tower is not None
    assert loss.encoder.tower.passes == 2  # the strings, and the tokens
    tokens[0] = tokens[1]
    loss(image, tokens)
    assert loss.encoder.tower.passes == 3  # written to: no longer the same text


def test_templates_average_normalised_embeddings(vit_b_32: Any) -> None:
    loss = CLIPLoss("cat", model=vit_b_32, templates=["a photo of a {}.", "art of a {}."])
    tokens = open_clip.tokenize(["a photo of a cat.", "art of a cat."])
    with torch.no_grad():
        expected = vit_b_32.encode_text(tokens, normalize=True).mean(0, keepdim=True)
    torch.testing.assert_close(loss.prompts, expected, atol=1e-5, rtol=1e-5)


def test_objective_routes_descriptions_by_config() -> None:
    objective = losskit.Objective(
        [
            {
                "type": "CLIPLoss",
                "model": tiny_clip(),
                "data_info": {"image": "fake_imgs", "text": "descriptions"},
            }
        ]
    )
    fake = torch.rand(2, 3, 16, 16, requires_grad=True)
    out = objective({"fake_imgs": fake, "descriptions": TEXTS})
    out.total.backward()
    assert list(out.logs) == ["loss_clip"]
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


def test_copies_and_pickles_give_the_same_number() -> None:
    image = torch.rand(1, 3, 16, 16)
    loss = CLIPLoss("a cat", model=tiny_clip())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(other(image), loss(image))
    assert not loss.state_dict()
    assert not list(loss.parameters())


def test_the_callers_model_is_left_alone() -> None:
    model = copy.deepcopy(tiny_clip()).train()
    loss = CLIPLoss("a cat", model=model)
    loss.train()
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not loss.backbone.network.training


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "ViT-B-23"}, ValueError, "'ViT-B-23' is not one of .*did you mean 'ViT-B-32'"),
        (
            {"model": "ViT-B-32", "weights": "opanai"},
            ValueError,
            "weights 'opanai' are not known for model 'ViT-B-32'; did you mean 'openai'",
        ),
        ({"model": 3}, TypeError, "model must be an open_clip name or model, not 3"),
        ({"model": torch.nn.Linear(1, 1)}, TypeError, "must be an open_clip model"),
        ({"preprocess": "clipp"}, ValueError, "'clipp'; did you mean 'clip'"),
        ({"pairing": "al"}, ValueError, "not 'al'"),
        ({"prompts": {}}, ValueError, "prompts is empty"),
        ({"prompts": {"a": 0}}, ValueError, "weight of 'a' in prompts is 0"),
        ({"prompts": [3]}, TypeError, "must hold texts, not 3"),
        ({"negative_prompts": {"a": -1}}, ValueError, "must be positive"),
        ({"templates": ["a cat"]}, ValueError, "'a cat' has no '{}'"),
        ({"templates": "imagenett"}, ValueError, "did you mean 'imagenet'"),
        ({"clip_model": {"insize": 3}}, ValueError, "no key 'insize'; did you mean 'in_size'"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of"),
        ({"free_text": True}, ValueError, "free_text=True goes with prompts"),
        ({"prompts": {"a": float("nan")}}, ValueError, "weight of 'a' in prompts must be finite"),
        ({"templates": []}, ValueError, "at least one sentence"),
        ({"templates": [3]}, TypeError, "templates must hold sentences, not 3"),
        ({"tokenizer": 3}, TypeError, "tokenizer must be callable"),
        ({"model": "RN50", "weights": 3}, TypeError, "weights must be a tag, a path or 'random'"),
        ({"clip_model": "ViT-B/32"}, TypeError, "clip_model must be a mapping"),
        ({"clip_model": {"in_size": "1"}}, ValueError, "in_size in clip_model must be a whole"),
        (
            {"model": "RN50", "clip_model": {"clip_type": "RN101"}},
            ValueError,
            "give model or clip_model, not both",
        ),
        ({"clip_model": {}, "pairing": "all"}, ValueError, "give pairing or clip_model, not both"),
    ],
)
def test_options_are_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        CLIPLoss(**{"model": tiny_clip(), **options})


def test_inputs_are_refused_by_name() -> None:
    loss, image = CLIPLoss(model=tiny_clip()), torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="text is missing"):
        loss(image)
    with pytest.raises(TypeError, match="text must be a string"):
        loss(image, [3])
    with pytest.raises(TypeError, match="must hold token ids"):
        loss(image, torch.rand(1, 77))
    with pytest.raises(ValueError, match=r"does not take text of shape \(1, 5\): .* tokenizer"):
        loss(image, torch.zeros(1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match="index out of range"):
        loss(image, torch.full((1, 77), 99_999))
    with pytest.raises(
        ValueError, match=r"text must have the shape \(n, context\), not \(1, 1, 5\)"
    ):
        loss(image, torch.zeros(1, 1, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"image must have the shape \(b, 3, h, w\)"):
        loss(torch.rand(1, 1, 16, 16), "a")
    with pytest.raises(ValueError, match="prompts were given"):
        CLIPLoss("a", model=tiny_clip())(image, "b")
    with pytest.warns(RangeWarning, match="CLIPLoss: image holds values"):
        loss(image * 255, "a")


def test_config_errors_name_the_loss() -> None:
    with pytest.raises(ConfigError, match="ViT-B-23"):
        losskit.build({"type": "CLIPLoss", "model": "ViT-B-23"})
