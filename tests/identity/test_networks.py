"""FaceNet against facenet-pytorch's own; weights files; imports that a config may not make."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models import inception_resnet_v1

import losskit
from losskit.errors import ConfigError, WeightsError
from losskit.weights import weights_path
from losskit_identity import ArcFaceIRSE50, FaceIdLoss
from losskit_identity.examples import tiny_facenet
from losskit_identity.networks import build_face_network
from losskit_identity.plugin import losskit_weights


@pytest.fixture(scope="module")
def facenet_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InceptionResnetV1]:
    torch.manual_seed(5)
    network = InceptionResnetV1(classify=True, num_classes=7).eval()
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    path = tmp_path_factory.mktemp("weights") / "facenet.pt"
    torch.save(network.state_dict(), path)
    network.classify = False
    return path, network


def test_facenet_equals_facenet_pytorch(facenet_file: tuple[Path, InceptionResnetV1]) -> None:
    path, theirs = facenet_file  # with logits.*, which the loader leaves out by name
    ours = build_face_network("FaceNet", str(path)).eval()
    image = torch.rand(2, 3, 160, 160) * 2 - 1
    found: dict[str, torch.Tensor] = {}
    hook = theirs.repeat_2.register_forward_hook(lambda _m, _i, out: found.update(repeat_2=out))
    with torch.no_grad():
        expected = theirs(image)
        embedding, repeat_2 = ours(image, ("embedding", "repeat_2"))
    hook.remove()
    torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(repeat_2, found["repeat_2"], atol=1e-5, rtol=1e-5)
    assert "logits.weight" not in ours.state_dict()


def test_facenet_standardises_as_its_authors(facenet_file: tuple[Path, InceptionResnetV1]) -> None:
    from facenet_pytorch import fixed_image_standardization

    path, theirs = facenet_file
    pixels = (torch.rand(1, 3, 160, 160) * 255).round()
    loss = FaceIdLoss(facenet="FaceNet", weights=str(path), align=None, data_range=255.0)
    with torch.no_grad():
        expected = theirs(fixed_image_standardization(pixels))
        ours = loss.backbone.features(pixels)["embedding"]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_arcface_loads_a_path_and_random_is_seeded(tmp_path: Path) -> None:
    torch.manual_seed(9)
    network = ArcFaceIRSE50()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "ir.pth")
    loaded = build_face_network("ArcFace", str(tmp_path / "ir.pth"))
    key = "body.5.res_layer.3.weight"
    assert torch.equal(loaded.state_dict()[key], network.state_dict()[key])
    first, same, other = (
        build_face_network("ArcFace", w).state_dict()[key]
        for w in ("random:1", "random:1", "random:2")
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_weights_that_are_not_there_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="losskit weights pull arcface-ir-se50"):
        FaceIdLoss()
    with pytest.raises(WeightsError, match="losskit weights pull arcface-ir-se50"):
        FaceIdLoss(facenet={"type": "ArcFace", "ir_se50_weights": None})
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth' does not fit ArcFace:"):
        FaceIdLoss(weights=str(tmp_path / "x.pth"))
    with pytest.raises(WeightsError, match=r"x\.pth' does not fit FaceNet:"):
        FaceIdLoss(facenet="FaceNet", weights=str(tmp_path / "x.pth"))
    for name in ("vggface2", "casia-webface"):
        command = f"losskit weights pull facenet-{name}"
        with pytest.raises(WeightsError, match=command):
            FaceIdLoss(facenet="FaceNet", weights=name)
    with pytest.raises(WeightsError, match=r"no weights 'facenet-vgg'; did you mean 'facenet-vggf"):
        FaceIdLoss(facenet="FaceNet", weights="facenet-vgg")


def test_a_file_with_another_checksum_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path))
    (tmp_path / "recognition_arcface_ir_se50-a035c768.pth").write_bytes(b"not it")
    with pytest.raises(WeightsError, match="sha256"):
        FaceIdLoss()


@pytest.mark.parametrize("name", ["vggface2", "casia-webface"])
def test_facenets_weights_come_by_the_facility_alone(
    name: str,
    facenet_file: tuple[Path, InceptionResnetV1],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The published names, addresses and layout, with the checksum of a seeded file."""

    def downloads(*_: object) -> None:
        raise AssertionError("facenet-pytorch's own loader was called")

    path, theirs = facenet_file
    monkeypatch.setattr(inception_resnet_v1, "load_weights", downloads)
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path))
    published = {spec.name: spec for spec in losskit_weights()}[f"facenet-{name}"]
    seeded = dataclasses.replace(published, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr("losskit.weights.files.known_weights", lambda: [seeded])
    weights_path(seeded).write_bytes(path.read_bytes())
    loss = FaceIdLoss(facenet="FaceNet", weights=name, align=None)
    image = torch.rand(1, 3, 160, 160) * 2 - 1
    with torch.no_grad():
        ours = loss.backbone.features(image)["embedding"]
        torch.testing.assert_close(ours, theirs(image * 127.5 / 128), atol=1e-5, rtol=1e-4)
    by_name = FaceIdLoss(facenet="FaceNet", weights=published.name, align=None)
    assert by_name.backbone.trunk is loss.backbone.trunk
    weights_path(seeded).write_bytes(b"not it")
    with pytest.raises(WeightsError, match="is not the published"):
        build_face_network("FaceNet", published.name)


def test_published_files_fit_their_networks() -> None:
    """Sizes in bytes against the networks' own: within the overhead of names, and no more."""
    specs = {spec.name: spec for spec in losskit_weights()}
    for name, people in (("facenet-vggface2", 8631), ("facenet-casia-webface", 10575)):
        network = InceptionResnetV1(classify=True, num_classes=people)
        numbers = sum(v.numel() * v.element_size() for v in network.state_dict().values())
        size = specs[name].size
        assert size is not None
        assert 0 < size - numbers < 300_000
        assert specs[name].sha256
        assert specs[name].license == "MIT"
    assert specs["light-cnn-dic"].sha256 is None


def test_keys_that_do_not_fit_are_errors(
    facenet_file: tuple[Path, InceptionResnetV1], tmp_path: Path
) -> None:
    state = torch.load(facenet_file[0], weights_only=True)
    for change in ("surplus", "missing"):
        wrong = dict(state)
        if change == "surplus":
            wrong["head.weight"] = torch.zeros(1)
        else:
            del wrong["last_bn.weight"]
        torch.save(wrong, tmp_path / f"{change}.pt")
        with pytest.raises(WeightsError, match=rf"{change}\.pt' does not fit FaceNet:"):
            build_face_network("FaceNet", str(tmp_path / f"{change}.pt"))


def test_import_paths_need_permission() -> None:
    path = "losskit_identity.examples:tiny_facenet"
    with pytest.raises(ValueError, match="say allow_import=True if you trust it"):
        FaceIdLoss(facenet=path)
    with pytest.raises(ConfigError, match="allow_import=True"):
        losskit.build({"type": "FaceIdLoss", "facenet": path})
    pair = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    imported = FaceIdLoss(facenet=path, allow_import=True)
    torch.testing.assert_close(imported(*pair), FaceIdLoss(facenet=tiny_facenet())(*pair))
    with pytest.raises(ValueError, match="cannot be imported"):
        FaceIdLoss(facenet="no_such_module:thing", allow_import=True)
    with pytest.raises(TypeError, match=r"makes dict, not an nn\.Module"):
        FaceIdLoss(facenet="builtins:dict", allow_import=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"facenet": "Arcface"}, ValueError, "not 'Arcface'; did you mean 'ArcFace'"),
        ({"facenet": 3}, TypeError, "not 3"),
        ({"facenet": {"type": "ArcFace", "ir50": 1}}, ValueError, "facenet has no key 'ir50'"),
        ({"weights": "x.pth"}, ValueError, "given as an object"),
        ({"align": "mtcn"}, ValueError, "not 'mtcn'; did you mean 'mtcnn'"),
        ({"on_missing": "skipp"}, ValueError, "not 'skipp'; did you mean 'skip'"),
        ({"layers": {}}, ValueError, "at least one layer"),
        ({"layers": {"stage1": 1.0}}, ValueError, "no layer 'stage1'"),
        ({"reduction": "avg"}, ValueError, "reduction must be one of"),
        (
            {"facenet": "ArcFace", "weights": "random", "input_size": 160},
            ValueError,
            "ArcFace is 112",
        ),
        ({"input_size": -1}, ValueError, "not -1"),
        ({"input_size": True}, ValueError, "not True"),
        ({"facenet": "ArcFace", "weights": 3}, TypeError, "weights must be a name, a path"),
        (
            {"facenet": {"ir_se50_weights": "a.pth"}, "weights": "b.pth"},
            ValueError,
            "weights='b.pth' and ir_se50_weights='a.pth' say two things",
        ),
        ({"facenet": ":x", "allow_import": True}, ValueError, "':x' cannot be imported"),
    ],
)
def test_options_are_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FaceIdLoss(**{"facenet": tiny_facenet(), **options})


def test_a_network_must_return_embeddings() -> None:
    class Pair(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return image, image

    image = torch.rand(2, 3, 16, 16) * 2 - 1
    with pytest.raises(TypeError, match=r"facenet \(Pair\) must return one tensor of embeddings"):
        FaceIdLoss(facenet=Pair())(image, image)


@pytest.mark.weights
@pytest.mark.parametrize(
    ("facenet", "weights"),
    [
        ("ArcFace", "arcface-ir-se50"),
        ("FaceNet", "facenet-vggface2"),
        ("FaceNet", "facenet-casia-webface"),
    ],
)
def test_true_weights_tell_people_apart(facenet: str, weights: str) -> None:
    try:
        loss = FaceIdLoss(
            facenet=facenet, weights=weights, align=None, data_range=1.0, reduction="none"
        )
    except WeightsError as error:
        pytest.skip(f"needs the true weights: {error}")
    from skimage import data

    face = torch.tensor(data.astronaut()).permute(2, 0, 1)[None, :, 40:190, 150:300] / 255
    cat = torch.tensor(data.chelsea()).permute(2, 0, 1)[None, :, :150, 100:250] / 255
    assert loss(face, face.flip(3)) < loss(face, cat) - 0.2
