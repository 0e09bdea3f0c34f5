"""FaceIdLoss: its numbers, its three paths without a face, its caches."""

from __future__ import annotations

import copy
import gc
import pickle
import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from facenet_pytorch import fixed_image_standardization
from processes import imported_by
from skimage import data
from torch import nn

import losskit
from losskit_identity import (
    ArcFaceIRSE50,
    FaceIdLoss,
    align_faces,
    crop_faces,
    face_crops,
    face_id_loss,
    face_landmarks,
    face_similarity,
    similarity,
)
from losskit_identity.alignment import sample_faces
from losskit_identity.examples import tiny_facenet


def _photo(name: str) -> torch.Tensor:
    picture = torch.tensor(getattr(data, name)()).permute(2, 0, 1)[None, :, :260, 80:340]
    return picture / 127.5 - 1


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    return _photo("astronaut")


@pytest.fixture(scope="module")
def cat() -> torch.Tensor:
    return _photo("chelsea")


def _embed(image: torch.Tensor) -> torch.Tensor:
    network: nn.Module = tiny_facenet()
    return network(image)


def test_closed_forms() -> None:
    pred = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    target = torch.tensor([[5.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    values = face_id_loss(pred, target, reduction="none")
    torch.testing.assert_close(values, torch.tensor([0.0, 1.0, 2.0]))
    assert face_id_loss(pred, target) == 1
    assert face_id_loss(pred, target, reduction="sum") == 3
    with pytest.raises(ValueError, match=r"pred must have the shape \(b, ...\), not \(2,\)"):
        face_id_loss(pred[0], target[0])


def test_crop_path_is_mmagics_arithmetic() -> None:
    network = ArcFaceIRSE50().eval()
    pred, target = (torch.rand(2, 3, 64, 64) * 2 - 1 for _ in range(2))
    pool, face_pool = nn.AdaptiveAvgPool2d((256, 256)), nn.AdaptiveAvgPool2d((112, 112))
    with torch.no_grad():
        a, b = (network(face_pool(pool(x)[:, :, 35:223, 32:220]))[0] for x in (pred, target))
        expected = torch.stack([1 - a[i].dot(b[i]) for i in range(2)]).mean()
        value = FaceIdLoss(facenet=network)(pred, target)
    torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)


def test_whole_image_path_and_range() -> None:
    pred, target = (torch.rand(2, 3, 112, 112) for _ in range(2))
    loss = FaceIdLoss(facenet=tiny_facenet(), align=None, data_range=1.0, reduction="none")
    expected = 1 - F.cosine_similarity(_embed(pred * 2 - 1), _embed(target * 2 - 1))
    torch.testing.assert_close(loss(pred, target), expected.detach(), atol=1e-5, rtol=1e-5)
    big = F.interpolate(pred, size=(224, 224), mode="nearest")
    torch.testing.assert_close(loss(big, big), torch.zeros(2), atol=1e-5, rtol=0)


def test_mtcnn_path_is_align_then_embed(face: torch.Tensor) -> None:
    pred = (face + 0.1 * torch.randn_like(face)).clamp(-1, 1)
    points = face_landmarks(face)
    expected = 1 - F.cosine_similarity(
        _embed(align_faces(pred, points)), _embed(align_faces(face, points))
    )
    value = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn")(pred, face)
    torch.testing.assert_close(value, expected[0].detach(), atol=1e-5, rtol=1e-4)


def test_a_pairs_value_does_not_depend_on_the_other_faces_of_its_batch(face: torch.Tensor) -> None:
    close = F.interpolate(face[..., 40:140, 95:195], size=face.shape[-2:], mode="bicubic")
    target = torch.cat([face, close.clamp(-1, 1)])
    points = face_landmarks(target)
    eyes = (points[:, 0] - points[:, 1]).norm(dim=-1)
    assert eyes[1] > 3 * eyes[0]  # so that each needs another number of samples per pixel
    pred = (target + 0.3 * torch.randn_like(target)).clamp(-1, 1)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Tanh(), nn.AvgPool2d(8), nn.Flatten())
    loss = FaceIdLoss(facenet=network, align="mtcnn", reduction="none")
    alone = torch.cat([loss(pred[i : i + 1], target[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(loss(pred, target), alone, atol=1e-6, rtol=1e-4)


def test_gradient_reaches_pred_and_never_target(face: torch.Tensor) -> None:
    for align in ("crop", "mtcnn", None):
        pred = face.clone().requires_grad_()
        target = face.clone().requires_grad_()
        FaceIdLoss(facenet=tiny_facenet(), align=align)(pred * 0.9, target).backward()  # type: ignore[arg-type]
        assert target.grad is None
        assert pred.grad is not None
        assert pred.grad.isfinite().all()
        assert pred.grad.abs().sum() > 0


class TestMissingFace:
    """A photograph of a cat beside one of a face."""

    def test_skip(self, face: torch.Tensor, cat: torch.Tensor) -> None:
        target = torch.cat([face, cat])
        pred = (target + 0.2 * torch.randn_like(target)).clamp(-1, 1).requires_grad_()
        loss = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn", on_missing="skip")
        alone = loss(pred[:1], face)
        value = loss(pred, target)
        torch.testing.assert_close(value, alone)  # the mean is over the faces
        value.backward()
        assert pred.grad is not None
        assert not pred.grad[1].any()
        assert pred.grad.isfinite().all()
        loss.reduction = "none"
        assert loss(pred, target)[1] == 0
        assert loss.similarity(pred, target).isnan().tolist() == [False, True]
        broken = torch.cat([face, torch.full_like(cat, torch.nan)])
        assert loss(pred, broken).isnan().tolist() == [False, True]
        loss.reduction = "mean"
        only_cats = loss(pred[1:], cat)
        assert only_cats == 0
        only_cats.backward()

    def test_crop(self, face: torch.Tensor, cat: torch.Tensor) -> None:
        target = torch.cat([face, cat])
        pred = (target + 0.2 * torch.randn_like(target)).clamp(-1, 1)
        loss = FaceIdLoss(
            facenet=tiny_facenet(), align="mtcnn", on_missing="crop", reduction="none"
        )
        cropped = 1 - F.cosine_similarity(_embed(crop_faces(pred)), _embed(crop_faces(target)))
        values = loss(pred, target)
        torch.testing.assert_close(values[1], cropped[1].detach(), atol=1e-5, rtol=1e-4)
        assert not torch.isclose(values[0], cropped[0])
        torch.testing.assert_close(loss(pred[1:], cat)[0], values[1])

    def test_raise(self, face: torch.Tensor, cat: torch.Tensor) -> None:
        target = torch.cat([face, cat])
        loss = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn", on_missing="raise")
        with pytest.raises(ValueError, match=r"no face is found in target at \[1\]"):
            loss(target, target)
        assert loss(face, face) == pytest.approx(0, abs=1e-5)


def test_a_fixed_target_is_looked_at_once(face: torch.Tensor) -> None:
    target = face.clone()
    loss = FaceIdLoss(facenet=copy.deepcopy(tiny_facenet()), align="mtcnn")
    assert loss.landmarks is not None
    before = loss.landmarks.passes
    for _ in range(3):
        loss(torch.rand_like(target) * 2 - 1, target)
    assert loss.landmarks.passes == before + 1
    assert loss.backbone.passes == 4  # three predictions, one target
    target.mul_(0.9)
    loss(torch.rand_like(target) * 2 - 1, target)
    assert loss.landmarks.passes == before + 2
    assert loss.backbone.passes == 6


@pytest.mark.parametrize("cached_images", [4, 0])
def test_two_losses_align_pred_once_in_a_step(
    face: torch.Tensor, monkeypatch: pytest.MonkeyPatch, cached_images: int
) -> None:
    cut_out: list[torch.Tensor] = []

    def counted(image: torch.Tensor, *rest: Any) -> torch.Tensor:
        cut_out.append(image)
        return sample_faces(image, *rest)

    monkeypatch.setattr(face_crops, "sample_faces", counted)
    network = copy.deepcopy(tiny_facenet())
    options: dict[str, Any] = {"facenet": network, "align": "mtcnn"}
    losses = [FaceIdLoss(**options), FaceIdLoss(**options, reduction="sum")]
    apart = [FaceIdLoss(facenet=copy.deepcopy(network), align="mtcnn") for _ in range(2)]
    terms = [losskit.Term(loss, loss_name=f"loss_{i}") for i, loss in enumerate(losses)]
    objective = losskit.Objective(terms)
    assert losses[0].landmarks is not None
    detections = losses[0].landmarks.passes
    losskit.backbones.set_cache_size(cached_images)
    try:
        target = face.clone()
        for step in range(1, 4):
            pred = (face * 0.9 + 0.1 * torch.rand_like(face)).requires_grad_()
            out = objective(pred=pred, target=target)
            out.total.backward()
            looks = step if not cached_images else 1  # at the target
            assert sum(image is pred for image in cut_out) == 1
            assert len(cut_out) == step + looks
            assert losses[0].landmarks.passes == detections + looks
            assert losses[0].backbone.passes == step + looks
            assert losses[0].backbone.trunk is losses[1].backbone.trunk
        twin = pred.detach().clone().requires_grad_()
        sum(loss(twin, face) for loss in apart).backward()  # type: ignore[union-attr]
        assert pred.grad is not None
        torch.testing.assert_close(pred.grad, twin.grad, atol=1e-6, rtol=1e-4)
    finally:
        losskit.backbones.set_cache_size(4)


def test_a_step_does_not_take_a_changed_pred_for_the_same(face: torch.Tensor) -> None:
    loss = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn")
    pred = (face + 0.2 * torch.randn_like(face)).clamp(-1, 1)
    with losskit.shared_features():
        before = loss(pred, face)
        with torch.no_grad():
            pred.copy_(face)
        after = loss(pred, face)
        with torch.no_grad():
            value = loss(other := pred.clone().requires_grad_(), face)
        loss(other, face).backward()  # what no_grad made has no graph: not used again
    assert before > 1e-4
    assert after == pytest.approx(0, abs=1e-6)
    assert value == pytest.approx(0, abs=1e-6)
    assert other.grad is not None
    assert len(face_crops._STEPS) == 0


def test_two_losses_on_one_target_do_not_mix_settings(face: torch.Tensor) -> None:
    small = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn")
    same_weights = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn", data_range=(-1.5, 1.5))
    pred = torch.rand_like(face) * 2 - 1
    first = small(pred, face)
    same_weights(pred, face)
    torch.testing.assert_close(small(pred, face), first)


def test_layers_are_components() -> None:
    pred, target = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    layers = {"stage1": 0.5, "stage3": 0.25, "embedding": 1.0}
    loss = FaceIdLoss(facenet="ArcFace", weights="random", layers=layers)
    with torch.no_grad():
        parts = loss.components(pred, target)
        network = loss.backbone.network
        a, b = (
            dict(zip(layers, network(crop_faces(x), tuple(layers)), strict=True))
            for x in (pred, target)
        )
        for name, weight in layers.items():
            expected = weight * (1 - F.cosine_similarity(a[name].flatten(1), b[name].flatten(1))[0])
            torch.testing.assert_close(parts[name], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(loss(pred, target), sum(parts.values()))


def test_similarity_is_the_cosine(face: torch.Tensor) -> None:
    other = face.flip(3)
    value = similarity(face, other, facenet=tiny_facenet())
    expected = F.cosine_similarity(_embed(crop_faces(face)), _embed(crop_faces(other)))
    torch.testing.assert_close(value, expected.detach(), atol=1e-5, rtol=1e-5)
    assert not value.requires_grad
    torch.testing.assert_close(similarity(face, face, facenet=tiny_facenet()), torch.ones(1))


def test_similarity_is_of_the_deepest_layer(face: torch.Tensor) -> None:
    other, order = face.flip(3), ["stage1", "embedding"]
    for names in (order, order[::-1]):
        loss = FaceIdLoss(weights="random", layers=dict.fromkeys(names, 1.0))
        value = loss.similarity(other, face)
        embedding = FaceIdLoss(weights="random", layers={"embedding": 1.0}).similarity(other, face)
        first = FaceIdLoss(weights="random", layers={"stage1": 1.0}).similarity(other, face)
        torch.testing.assert_close(value, embedding, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(value, first, atol=1e-3)
    shallow = similarity(other, face, weights="random", layers={"stage1": 1.0})
    torch.testing.assert_close(shallow, first, atol=1e-5, rtol=1e-5)


def test_functions_keep_their_networks_and_landmarks_between_calls(
    face: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from losskit_identity import landmarks, networks

    detected, built = [], []
    forward, network = landmarks.LandmarkNetwork.forward, networks.ArcFaceIRSE50

    def counted(self: Any, *inputs: Any) -> Any:
        detected.append(1)
        return forward(self, *inputs)

    monkeypatch.setattr(landmarks.LandmarkNetwork, "forward", counted)
    monkeypatch.setattr(networks, "ArcFaceIRSE50", lambda: built.append(1) or network())
    face = face.clone()
    first = face_landmarks(face)
    kept = first.clone()
    first.zero_()  # the caller's own
    for _ in range(2):
        gc.collect()
        torch.testing.assert_close(face_landmarks(face), kept)
    assert len(detected) == 1
    values = []
    for _ in range(3):
        values.append(similarity(face * 0.9, face, weights="random:3", align="mtcnn"))
        gc.collect()
    assert len(built) == 1
    assert len(detected) == 1
    for seed in (4, 5, 6):
        similarity(face, face, weights=f"random:{seed}")
    assert len(face_similarity._KEPT) == 2


def test_facenet_divides_by_128() -> None:
    """facenet-pytorch's ``fixed_image_standardization`` of 0 to 255."""
    image = torch.rand(1, 3, 160, 160)
    loss = FaceIdLoss(facenet="FaceNet", weights="random", align=None, data_range=1.0)
    network, transform = loss.backbone.network, loss.backbone.mode.transform
    assert transform is not None
    theirs = fixed_image_standardization(image * 255)
    torch.testing.assert_close(transform(image), theirs, atol=1e-5, rtol=0)
    with torch.no_grad():  # and it is what the network is given
        (expected,) = network(theirs, ("embedding",))
        found = loss.backbone.features(image)["embedding"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_precision_reaches_the_network() -> None:
    pair = torch.rand(1, 3, 64, 64) * 2 - 1, torch.rand(1, 3, 64, 64) * 2 - 1
    exact, rounded = (
        FaceIdLoss(facenet=tiny_facenet(), precision=precision)(*pair)
        for precision in (None, "bf16")
    )
    assert rounded != exact
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0)


def test_frozen_whatever_the_parent_does() -> None:
    loss = FaceIdLoss(facenet=nn.Sequential(nn.Dropout(), tiny_facenet()))
    parent = nn.ModuleDict({"identity": loss}).train()
    pair = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    assert parent["identity"](*pair) == parent["identity"](*pair)
    assert not list(parent.parameters())
    assert not parent.state_dict()
    for other in (copy.deepcopy(parent), pickle.loads(pickle.dumps(parent))):
        torch.testing.assert_close(other["identity"](*pair), parent["identity"](*pair))


def test_inputs_are_refused_by_name() -> None:
    loss, image = FaceIdLoss(facenet=tiny_facenet()), torch.rand(2, 3, 16, 16) * 2 - 1
    with pytest.raises(ValueError, match="pred and target must have one shape"):
        loss(image, image[:1])
    with pytest.raises(ValueError, match=r"pred must have the shape \(b, 3, h, w\)"):
        loss(image[:, :1], image[:, :1])
    with pytest.raises(TypeError, match="target must be a floating-point tensor"):
        loss(image, (image * 255).long())
    with pytest.raises(TypeError, match="pred must be a tensor, not list"):
        loss([1], image)


def test_the_cached_target_saves_its_pass() -> None:
    """A rough look; the figure itself is the benchmark's."""
    loss = FaceIdLoss(facenet="ArcFace", weights="random")
    target = torch.rand(1, 3, 64, 64) * 2 - 1

    def seconds(fixed: bool) -> float:
        pred = torch.rand(1, 3, 64, 64) * 2 - 1
        start = time.process_time()  # a busy machine must not matter
        loss(pred.requires_grad_(), target if fixed else target.clone())
        return time.process_time() - start

    seconds(True)
    assert min(seconds(True) for _ in range(3)) < 0.85 * min(seconds(False) for _ in range(3))


def test_the_plugin_module_imports_neither_torch_nor_facenet() -> None:
    code = "import losskit_identity.plugin as p; p.losskit_losses(); p.losskit_weights()"
    assert imported_by(code, "torch", "facenet_pytorch", "numpy") == []


def test_the_default_device_does_not_matter(face: torch.Tensor) -> None:
    """As with ``torch.set_default_device("cuda")``; meta tensors would fail at their first use."""
    network, pred = tiny_facenet(), (face * 0.9).clone()
    plain = FaceIdLoss(facenet=network, align="mtcnn")(pred, face)
    with torch.device("meta"):
        loss = FaceIdLoss(facenet=copy.deepcopy(network), align="mtcnn")
        torch.testing.assert_close(loss(pred, face.clone()), plain)


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute:UserWarning"
)  # torch's own look, on resuming
def test_compiled_with_landmarks_it_is_the_same(face: torch.Tensor) -> None:
    """The detector runs outside the graph; the alignment's gradient is the eager one."""
    loss = FaceIdLoss(facenet=tiny_facenet(), align="mtcnn")
    grads = []
    for call in (loss, torch.compile(loss, backend="eager")):
        pred = (face * 0.8).requires_grad_()
        call(pred, face).backward()
        grads.append(pred.grad)
    assert grads[0] is not None
    assert grads[0].any()
    torch.testing.assert_close(grads[1], grads[0], atol=1e-7, rtol=1e-4)
