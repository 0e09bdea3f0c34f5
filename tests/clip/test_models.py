"""Weights that cannot be had: offline, missing, or of another model."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any
from unittest import mock

import open_clip
import pytest
import torch

from losskit.errors import WeightsError
from losskit_clip import CLIPImageLoss, CLIPLoss
from losskit_clip.examples import tiny_clip
from losskit_clip.models import check_model, load_model, tokenizer_for


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No names are resolved, no proxy is set, and nothing was fetched before."""

    def unresolved(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)


@pytest.mark.parametrize(("model", "tag"), [("RN50", "openai"), ("ViT-B-32", "laion2b_s34b_b79k")])
@pytest.mark.usefixtures("offline")
def test_offline_a_tag_fails_with_the_command_that_fetches_it(model: str, tag: str) -> None:
    command = (
        f"python -c \"import open_clip; open_clip.create_model('{model}', pretrained='{tag}')\""
    )
    with pytest.raises(WeightsError) as caught:
        CLIPLoss("a cat", model=model, weights=tag)
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_offline_a_cached_tag_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From both places where open_clip keeps what it fetched; what is read is a small model."""
    import huggingface_hub.constants as constants
    from huggingface_hub.file_download import try_to_load_from_cache

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", try_to_load_from_cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(open_clip, "create_model", lambda *_, **__: tiny_clip())
    cached = [("ViT-B-32", "laion2b_s34b_b79k", "hub"), ("RN50", "yfcc15m", "url")]
    for model, tag, kind in cached:
        config = open_clip.get_pretrained_cfg(model, tag)
        if kind == "hub":
            repository = config["hf_hub"].rpartition("/")[0].replace("/", "--")
            folder = tmp_path / f"models--{repository}" / "snapshots" / ("0" * 40)
            (folder.parents[1] / "refs").mkdir(parents=True)
            (folder.parents[1] / "refs" / "main").write_text("0" * 40)
            file = folder / "open_clip_model.safetensors"
        else:
            config = {"url": "https://example.invalid/RN50-yfcc.pt"}
            monkeypatch.setattr(
                "losskit_clip.models.get_pretrained_cfg", lambda *_, config=config: config
            )
            file = tmp_path / ".cache" / "clip" / "RN50-yfcc.pt"
        with pytest.raises(WeightsError, match="cannot be had"):
            load_model(model, tag)
        file.parent.mkdir(parents=True)
        file.touch()
        assert load_model(model, tag) is tiny_clip()


@pytest.mark.usefixtures("offline")
def test_offline_a_tokenizer_that_would_be_fetched_fails_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(
        WeightsError, match=r"tokenizer of model 'ViT-B-16-SigLIP' cannot be had: .*"
    ):
        tokenizer_for("ViT-B-16-SigLIP")
    assert time.monotonic() - began < 5  # its own retries take a minute
    assert tokenizer_for("ViT-B-32")(["a cat"]).shape == (1, 77)


def test_a_text_tower_whose_layout_is_fetched_is_no_random_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline = mock.Mock(side_effect=OSError("We couldn't connect"))
    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(WeightsError, match=r"what random weights need of model .* We couldn't"):
        load_model("roberta-ViT-B-32", "random")


def test_missing_file_and_wrong_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file '.*gone\.pt'"):
        CLIPImageLoss(model="RN50", weights=str(tmp_path / "gone.pt"))
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt' is no checkpoint of model 'RN50'"):
        CLIPImageLoss(model="RN50", weights=str(tmp_path / "other.pt"))


def test_a_path_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check_model("RN50", "~/x.pt") == ("RN50", str(tmp_path / "x.pt"))


def test_a_tag_brings_its_quickgelu(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(
        open_clip, "create_model", lambda *_, **given: options.update(given) or torch.nn.Identity()
    )
    monkeypatch.setattr("losskit_clip.models._check_reachable", lambda *_: None)
    load_model("ViT-B-32", "openai")
    assert options == {"pretrained": "openai", "force_quick_gelu": True}
    load_model("ViT-B-32", "laion2b_s34b_b79k")
    assert options["force_quick_gelu"] is False


def test_another_vocabulary_needs_its_tokenizer() -> None:
    model = tiny_clip()
    assert tokenizer_for(model)(["a cat"]).shape == (1, 77)
    other = torch.nn.Module()
    other.vocab_size = 100  # type: ignore[assignment]
    with pytest.raises(ValueError, match="vocabulary has 100 entries"):
        tokenizer_for(other)


def test_model_object_takes_no_weights() -> None:
    with pytest.raises(ValueError, match="weights='openai' does not go with a model"):
        CLIPLoss("a", model=tiny_clip(), weights="openai")


@pytest.mark.weights
def test_true_weights_know_the_astronaut() -> None:
    skimage_data = pytest.importorskip("skimage.data")
    try:
        loss = CLIPLoss(model="ViT-B-32", weights="openai", reduction="none")
    except WeightsError as error:
        pytest.skip(f"needs the true weights: {error}")
    image = torch.tensor(skimage_data.astronaut()).permute(2, 0, 1)[None] / 255
    right, wrong = loss(image, "a photo of an astronaut"), loss(image, "a photo of a cup of coffee")
    assert right < wrong - 0.05


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning"
)
def test_openais_file_is_refused_by_the_model_without_quickgelu(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(
        str(path)
    )  # the kind of file that OpenAI published
    with pytest.raises(WeightsError, match=r"QuickGELU: take model='ViT-B-32-quickgelu', not"):
        load_model("ViT-B-32", str(path))
    with pytest.raises(WeightsError, match="is no checkpoint of model 'ViT-B-32-quickgelu'"):
        load_model("ViT-B-32-quickgelu", str(path))
    torch.save({"weight": torch.zeros(1)}, path)  # a state dict may be anybody's
    with pytest.raises(WeightsError, match="is no checkpoint of model 'ViT-B-32'"):
        load_model("ViT-B-32", str(path))
