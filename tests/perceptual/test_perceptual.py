"""PerceptualLoss and StyleLoss against plain implementations of MMagic's algorithm and piq's."""

import copy
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import piq
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import losskit
from losskit.backbones import InputNorm, shared_backbone
from losskit.errors import RangeWarning, WeightsError
from losskit_perceptual import PerceptualLoss, StyleLoss, gram_matrix, perceptual_distance, style
from losskit_perceptual import features as loss_features
from losskit_perceptual.networks import pretrained
from losskit_perceptual.networks.vgg import NAMES, layer_names


class MMagicAlgorithm(nn.Module):
    """As MMagic computes it, written down plainly: own trunks, both images, in-place ReLU."""

    def __init__(
        self,
        trunk: nn.Sequential,
        perceptual: dict[str, float],
        style: dict[str, float] | None = None,
        *,
        weights: tuple[float, float] = (1.0, 1.0),
        input_norm: bool = True,
        norm_img: bool = True,
        mse: bool = False,
    ) -> None:
        super().__init__()
        deepest = max(map(int, {**perceptual, **(style or {})}))
        self.trunk = copy.deepcopy(trunk[: deepest + 1]).eval()
        for layer in self.trunk:
            if isinstance(layer, nn.ReLU):
                layer.inplace = True
        self.layers = (perceptual, style or perceptual)
        self.weights, self.input_norm, self.norm_img = weights, input_norm, norm_img
        self.distance = F.mse_loss if mse else F.l1_loss

    def features(self, x: Tensor, names: dict[str, float]) -> dict[str, Tensor]:
        if self.norm_img:
            x = (x + 1) / 2
        if self.input_norm:
            mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).to(x).view(1, 3, 1, 1)
            std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).to(x).view(1, 3, 1, 1)
            x = (x - mean) / std
        x = x.clone()
        found = {}
        for index, layer in enumerate(self.trunk):
            x = layer(x)
            if str(index) in names:
                found[str(index)] = x.clone()
        return found

    def forward(self, pred: Tensor, target: Tensor) -> list[Tensor]:
        parts = []
        for part, (names, weight) in enumerate(zip(self.layers, self.weights, strict=True)):
            if not weight:
                continue
            fake, real = self.features(pred, names), self.features(target.detach(), names)
            total = torch.zeros((), dtype=pred.dtype)
            for name, layer_weight in names.items():
                a, b = fake[name], real[name]
                if part == 1:
                    a, b = (torch.einsum("bchw,bdhw->bcd", v, v) / v[0].numel() for v in (a, b))
                total = total + self.distance(a, b) * layer_weight
            parts.append(total * weight)
        return parts


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "perceptual only": ({"style_weight": 0}, {"weights": (1.0, 0.0)}),
    "style only, other layers": (
        {
            "layer_weights_style": {"4": 0.3, "8": 1.0},
            "perceptual_weight": 0,
            "style_weight": 250.0,
        },
        {"style": {"4": 0.3, "8": 1.0}, "weights": (0.0, 250.0)},
    ),
    "both": ({"perceptual_weight": 0.5, "style_weight": 60.0}, {"weights": (0.5, 60.0)}),
    "vgg16 mse": (
        {"vgg_type": "vgg16", "criterion": "mse", "style_weight": 0},
        {"mse": True, "weights": (1.0, 0.0)},
    ),
    "no input norm": ({"use_input_norm": False}, {"input_norm": False}),
    "images in [0, 1]": ({"norm_img": False}, {"norm_img": False}),
    "batch norm": ({"vgg_type": "vgg11_bn"}, {}),
}
LAYERS = {"2": 0.1, "5": 0.7, "7": 1.0}


def images(
    dtype: torch.dtype = torch.float32, low: float = -1.0, size: int = 17, seed: int = 5
) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.rand(2, 3, size, size + 3, dtype=dtype) * (1 - low) + low for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_equals_mmagics_algorithm(case: str, dtype: torch.dtype) -> None:
    arguments, plain = CASES[case]
    arguments = {"vgg_type": "vgg11", "weights": "random", **arguments}
    loss = PerceptualLoss(LAYERS, **arguments)
    reference = MMagicAlgorithm(loss.backbone.network.features, LAYERS, **plain).to(dtype)
    pred, target = images(dtype, 0.0 if arguments.get("norm_img") is False else -1.0)
    pred.requires_grad_()
    tolerance = (
        {"rtol": 2e-4, "atol": 1e-7} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-14}
    )
    parts = list(loss.components(pred, target).values())
    expected = reference(pred, target)
    assert len(parts) == len(expected)
    for value, wanted in zip(parts, expected, strict=True):
        torch.testing.assert_close(value, wanted, **tolerance)
    (gradient,) = torch.autograd.grad(sum(parts), pred)
    (wanted,) = torch.autograd.grad(sum(expected), pred)
    scale = wanted.abs().max().item()
    torch.testing.assert_close(
        gradient / scale, wanted / scale, rtol=tolerance["rtol"], atol=tolerance["rtol"]
    )


def test_equals_piqs_content_and_style() -> None:
    layers = {"3": 1.0, "6": 0.5}
    pred, target = images(low=0.0, size=32)
    shared = {"weights": "random", "data_range": 1.0}
    # piq adds channels up where the others take their mean.
    summed = {"3": 1.0 * 128, "6": 0.5 * 256}
    content = PerceptualLoss(summed, vgg_type="vgg11", style_weight=0, criterion="mse", **shared)
    style = StyleLoss(layers, backbone="vgg11", criterion="mse", normalize="none", **shared)
    more = {
        "feature_extractor": copy.deepcopy(content.backbone.network.features),
        "layers": list(layers),
        "weights": list(layers.values()),
    }
    torch.testing.assert_close(
        content(pred, target), piq.ContentLoss(**more)(pred, target), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        style(pred, target), piq.StyleLoss(**more)(pred, target), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_each_sample_has_its_own_value(reduction: str, criterion: str) -> None:
    options = {"vgg_type": "vgg11", "weights": "random", "criterion": criterion}
    loss = PerceptualLoss(LAYERS, reduction=reduction, **options)
    pred, target = images()
    each = torch.stack([loss(pred[i : i + 1], target[i : i + 1]).squeeze() for i in range(2)])
    wanted = {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]
    torch.testing.assert_close(loss(pred, target), wanted, rtol=1e-4, atol=1e-6)


def test_a_mask_of_ones_changes_nothing_and_places_outside_do_not_count() -> None:
    loss = PerceptualLoss({"relu1_1": 1.0}, vgg_type="vgg11", weights="random")
    pred, target = images(size=16)
    ones = torch.ones(2, 1, *pred.shape[2:])
    torch.testing.assert_close(loss(pred, target, ones), loss(pred, target))
    left = ones.clone()
    left[..., 8:] = 0
    elsewhere = pred.clone()
    elsewhere[..., 10:] = 0.0  # beyond the convolution's reach of the mask
    torch.testing.assert_close(loss(pred, target, left), loss(elsewhere, target, left))
    assert loss(pred, target) != loss(elsewhere, target)
    assert loss(pred, target, torch.zeros_like(ones)) == 0


def test_gram_matrix_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels of two pixels
    product = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]])
    assert torch.equal(gram_matrix(features, normalize="none"), product)
    assert torch.equal(gram_matrix(features, normalize="hw"), product / 2)
    assert torch.equal(gram_matrix(features), product / 4)
    assert torch.equal(gram_matrix(features.flatten(2).transpose(1, 2)), product / 4)
    second = gram_matrix(features, normalize="hw", mask=torch.tensor([[[[0.0, 1.0]]]]))
    assert torch.equal(second, torch.tensor([[[4.0, 8.0], [8.0, 16.0]]]))
    with pytest.raises(ValueError, match=r"features must be \(b, c, h, w\) or tokens"):
        gram_matrix(torch.ones(3, 3))


def test_a_fixed_targets_gram_matrices_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    plain = style.gram_matrix
    monkeypatch.setattr(style, "gram_matrix", lambda *a, **b: made.append(True) or plain(*a, **b))
    how = {"backbone": "vgg11", "weights": "random", "data_range": (-1, 1)}
    loss, unscaled = StyleLoss({"relu2_1": 1.0}, **how), StyleLoss({"relu2_1": 1.0}, **how)
    unscaled.normalize = "none"  # looks at the same features, otherwise scaled
    pred, target = images(size=16)
    first = loss(pred, target)
    assert len(made) == 2
    assert torch.equal(loss(pred, target), first)
    assert len(made) == 3, "the target's was made again"
    torch.testing.assert_close(
        unscaled(pred, target), first * (128 * 8 * 9)
    )  # 16x19 images, halved
    assert torch.equal(loss(pred, pred.detach()), torch.zeros(()))
    with torch.inference_mode():
        assert torch.equal(loss(pred, target), first)
    target.mul_(0.5)
    changed = loss(pred, target)
    assert torch.equal(changed, loss(pred, target.clone()))
    assert changed != first


def test_gram_matrices_go_with_the_features_they_are_of() -> None:
    before = len(style._GRAMS)
    features = torch.rand(1, 4, 3, 3)
    gram = style.lasting_gram(features)
    assert style.lasting_gram(features) is gram
    features[0, 0] = 0
    assert torch.equal(style.lasting_gram(features), gram_matrix(features))
    assert style.lasting_gram(features.requires_grad_()).requires_grad
    assert len(style._GRAMS) == before + 1
    del features
    assert len(style._GRAMS) == before


@pytest.mark.parametrize("at_once", [1, 1 << 22])
def test_the_l1_that_saves_memory_is_torchs_l1(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(loss_features, "_CHUNK", at_once)
    a = torch.randn(3, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        b[0] = a[0]  # the gradient there is 0
    value = perceptual_distance({"x": a}, {"x": b}, {"x": 1.0})
    torch.testing.assert_close(value, F.l1_loss(a, b))
    (own,) = torch.autograd.grad(value * 3, a)
    (plain,) = torch.autograd.grad(F.l1_loss(a, b) * 3, a)
    torch.testing.assert_close(own, plain)


# --- layers and networks --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19"])
def test_layers_lie_where_torchvision_has_them(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        features = getattr(torchvision.models, name)().features
    kinds = {"conv": nn.Conv2d, "bn": nn.BatchNorm2d, "relu": nn.ReLU, "pool": nn.MaxPool2d}
    names = layer_names(name)
    assert len(names) == len(features)
    for own, layer in zip(names, features, strict=True):
        assert isinstance(layer, kinds[own.rstrip("0123456789_")])
    assert len(NAMES) == 8


def test_names_and_indices_are_the_same_layers() -> None:
    pred, target = images()
    options = {"vgg_type": "vgg11", "weights": "random", "style_weight": 0}
    by_name = PerceptualLoss({"conv2_1": 1.0, "relu2_1": 1.0}, **options)
    by_index = PerceptualLoss({3: 1.0, "4": 1.0}, **options)
    assert torch.equal(by_name(pred, target), by_index(pred, target))
    assert by_name.backbone.names == ("3", "4")


def test_a_captured_convolution_is_not_overwritten_by_the_relu_after_it() -> None:
    loss = PerceptualLoss({"conv1_1": 1.0, "relu1_1": 1.0}, vgg_type="vgg11", weights="random")
    found = loss.backbone.features(images()[0])
    assert found["conv1_1"].min() < 0
    assert torch.equal(found["relu1_1"], found["conv1_1"].relu())


@pytest.mark.parametrize(
    ("backbone", "layer", "shape"),
    [
        ("resnet18", "layer1", (2, 64, 16, 16)),  # `out += identity` follows in place
        ("resnet18", "layer1.0.bn2", (2, 64, 16, 16)),
        ("alexnet", "1", (2, 64, 15, 15)),
        ("timm/resnet10t", "layer1.0.bn1", (2, 64, 16, 16)),
        ("timm/vit_tiny_patch16_224", "blocks.1", (2, 17, 192)),
    ],
)
def test_any_network_and_what_it_captures_is_not_overwritten(
    backbone: str, layer: str, shape: tuple[int, ...]
) -> None:
    loss = PerceptualLoss({layer: 1.0}, backbone=backbone, weights="random", data_range=1.0)
    pred, target = images(low=0.0, size=64)
    pred, target = pred[..., :64].requires_grad_(), target[..., :64]
    found = loss.backbone.features(pred.detach())[layer]
    assert found.shape == shape
    if "bn" in layer:  # the true value, through a hook, from a network where nothing is in place
        model = copy.deepcopy(loss.backbone.network.model)
        seen: list[Tensor] = []
        model.get_submodule(layer).register_forward_hook(lambda m, i, o: seen.append(o.clone()))
        with torch.no_grad():
            model(InputNorm.imagenet()(pred))
        torch.testing.assert_close(found, seen[0])
    loss(pred, target).backward()
    assert pred.grad.abs().sum() > 0
    mask = torch.ones(2, 1, 64, 64)
    assert torch.isfinite(loss(pred, target, mask))


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19"])
def test_the_default_layers_are_in_every_vgg(name: str) -> None:
    wanted = {
        "vgg11": ["relu1_1", "relu2_1", "relu3_2", "relu4_2"],
        "vgg13_bn": ["relu1_2", "relu2_2", "relu3_2", "relu4_2"],
    }
    loss = PerceptualLoss(vgg_type=name, weights="random")
    paper = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    assert list(loss.layer_weights) == wanted.get(name, paper)


def test_a_module_may_be_the_network() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
    loss = PerceptualLoss({"0": 1.0}, backbone=network, data_range=1.0)
    pred, target = images(low=0.0)
    wanted = F.l1_loss(network[0](pred), network[0](target))
    torch.testing.assert_close(loss.components(pred, target)["perceptual"], wanted)
    assert list(loss.parameters()) == []


def test_what_becomes_of_a_module_changes_no_loss_made_of_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    network.train()
    loss = PerceptualLoss({"2": 1.0}, style_weight=0, backbone=network, data_range=1.0)
    pred, target = images(low=0.0)
    before = loss(pred, target)
    loss(target, target)  # its features are known now
    with torch.no_grad():
        network[0].weight.mul_(3)
    assert network.training
    assert network[2].inplace
    assert all(p.requires_grad for p in network.parameters())
    assert network[1].num_batches_tracked == 0
    network.double()
    assert loss(target.clone(), target) == 0
    assert loss(pred, target) == before
    again = PerceptualLoss({"2": 1.0}, style_weight=0, backbone=network.float(), data_range=1.0)
    assert again(pred, target) > 1.5 * before


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [("timm/vit_tiny_patch16_224", ("blocks.0", "blocks.2")), ("resnet18", ("layer1", "layer2"))],
)
def test_any_network_can_be_used_from_many_threads(backbone: str, layers: tuple[str, ...]) -> None:
    options = {"style_weight": 0, "weights": "random:5", "data_range": 1.0}
    losses = [PerceptualLoss({layer: 1.0}, backbone=backbone, **options) for layer in layers]
    pairs = [[x[..., :64] for x in images(low=0.0, size=64, seed=seed)] for seed in range(3)]
    jobs = [(loss, *pair) for loss in losses for pair in pairs] * 3
    with ThreadPoolExecutor(4) as pool:  # the very first use, too
        together = list(pool.map(lambda job: job[0](job[1], job[2]), jobs))
    alone = [loss(pred.clone(), target.clone()) for loss, pred, target in jobs]
    torch.testing.assert_close(together, alone)
    nn.Linear(2, 2)(torch.ones(2))  # tracing a network must leave no trace


def test_a_watched_network_works_in_inference_mode() -> None:
    loss = PerceptualLoss(
        {"blocks.1": 1.0},
        style_weight=0,
        backbone="timm/vit_tiny_patch16_224",
        weights="random",
        data_range=1.0,
    )
    pred, target = (x[..., :64] for x in images(low=0.0, size=64))
    wanted = loss(pred, target)
    with torch.inference_mode():
        torch.testing.assert_close(loss(pred.clone(), target.clone()), wanted)


@pytest.mark.parametrize("criterion", ["l1", "mse"])
def test_second_derivatives_and_batched_gradients_are_torchs(criterion: str) -> None:
    loss = PerceptualLoss(
        {"relu1_1": 1.0}, style_weight=0, vgg_type="vgg11", weights="random", criterion=criterion
    )
    network = copy.deepcopy(loss.backbone.network.features[:2]).double()
    distance = F.l1_loss if criterion == "l1" else F.mse_loss
    norm = InputNorm.imagenet(-1.0, 1.0)
    pred, target = images(dtype=torch.float64, size=16)
    pred.requires_grad_()
    results = []
    for value in (loss(pred, target), distance(network(norm(pred)), network(norm(target)))):
        (slope,) = torch.autograd.grad(value, pred, create_graph=True)
        (bend,) = torch.autograd.grad(slope.square().sum(), pred, retain_graph=True)
        factors = torch.tensor([1.0, -2.0], dtype=torch.float64)
        (both,) = torch.autograd.grad(value, pred, factors, is_grads_batched=True)
        results.append((slope, bend, both))
    torch.testing.assert_close(*results)


def test_a_trunk_is_one_for_perceptual_and_style_and_other_losses() -> None:
    options = {"weights": "random", "data_range": 1.0}
    perceptual = PerceptualLoss(LAYERS, layer_weights_style={"8": 1.0}, vgg_type="vgg11", **options)
    style = StyleLoss({"relu1_1": 1.0}, backbone="vgg11", **options)
    pred, target = images(low=0.0)
    pred.requires_grad_()
    start = perceptual.backbone.passes
    with losskit.shared_features():
        (perceptual(pred, target) + style(pred, target)).backward()
    assert perceptual.backbone.passes - start == 2


def test_on_the_cpu_a_vgg_is_one_pass_for_those_who_ask_to_compile_too() -> None:
    options = {"weights": "random", "data_range": 1.0}
    perceptual = PerceptualLoss(LAYERS, vgg_type="vgg11", compile=True, **options)
    style = StyleLoss({"relu1_1": 1.0}, backbone="vgg11", **options)
    pred, target = images(low=0.0)
    start = style.backbone.passes
    with losskit.shared_features():
        perceptual(pred, target) + style(pred, target)
    assert style.backbone.passes - start == 2


# --- weights --------------------------------------------------------------------------------


def test_random_weights_are_the_same_for_everyone_and_other_seeds_differ() -> None:
    pred, target = images()
    values = [
        PerceptualLoss(LAYERS, vgg_type="vgg11", weights=weights)(pred, target).item()
        for weights in ("random", "random", "random:1")
    ]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("prefix", ["features.", ""])
def test_weights_from_a_file(tmp_path: Path, prefix: str) -> None:
    source = PerceptualLoss(LAYERS, vgg_type="vgg11", weights="random:3")
    state = source.backbone.network.features.state_dict()
    torch.save({f"{prefix}{key}": value for key, value in state.items()}, tmp_path / "vgg.pth")
    loss = PerceptualLoss(LAYERS, vgg_type="vgg11", weights=tmp_path / "vgg.pth")
    pred, target = images()
    assert torch.equal(loss(pred, target), source(pred, target))
    with pytest.raises(WeightsError, match="do not fit vgg13"):
        PerceptualLoss(LAYERS, vgg_type="vgg13", weights=tmp_path / "vgg.pth")


def test_without_internet_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError) as caught:
        pretrained.state_dict("vgg19", "torchvision://vgg19")
    message = str(caught.value)
    for part in (
        "vgg19-dcbb9e9d.pth",
        "checkpoints",
        "no route",
        "download.pytorch.org",
        "weights=",
    ):
        assert part in message


# --- checkpoints ----------------------------------------------------------------------------


def test_a_checkpoint_with_five_vgg_losses_is_small_and_offers_no_parameters() -> None:
    losses = [
        losskit.Term(
            PerceptualLoss({"relu1_1": 1.0}, vgg_type=name, weights="random"),
            loss_name=f"loss_{name}",
        )
        for name in ("vgg11", "vgg13", "vgg16", "vgg11_bn", "vgg11")
    ]
    objective = losskit.Objective(losses)
    file = io.BytesIO()
    torch.save(objective.state_dict(), file)
    assert file.tell() < 10_000
    assert list(objective.parameters()) == []
    assert [buffer.numel() for buffer in objective.buffers()] == [2]  # compiled code counts steps


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_trunk_and_distances_compile_without_a_break() -> None:
    loss = PerceptualLoss(
        LAYERS, layer_weights_style={"4": 1.0}, vgg_type="vgg11", weights="random"
    )
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    pred, target = images()
    pred.requires_grad_()
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


def test_a_traced_network_compiles_without_a_break() -> None:
    loss = PerceptualLoss({"layer1": 1.0}, backbone="resnet18", weights="random", data_range=1.0)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    pred, target = images(low=0.0, size=32)
    torch.testing.assert_close(compiled(pred, target), loss(pred, target))


# --- what users get wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (
            (0.0, 255.0),
            {"data_range": 1.0},
            "pred holds values from 0 to 255, but data_range says 0 to 1",
        ),
        ((-1.0, 1.0), {"norm_img": False}, "norm_img says 0 to 1"),
        ((0.0, 1.0), {}, "pred holds values from 0 to 1, but norm_img says -1 to 1"),
    ],
)
def test_a_wrong_range_is_told_once(
    values: tuple[float, float], options: dict[str, Any], message: str
) -> None:
    loss = PerceptualLoss({"conv1_1": 1.0}, vgg_type="vgg11", weights="random", **options)
    low, high = values
    pred = torch.linspace(low, high, 3 * 64).view(1, 3, 8, 8)
    fine = torch.linspace(loss._check_range.low, 1, 3 * 64).view(1, 3, 8, 8)
    with pytest.warns(RangeWarning, match=message):
        loss(pred, fine)
    loss(pred, fine)  # warnings are errors here


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vgg_type": "vgg17"}, "vgg_type must be one of .*not 'vgg17'"),
        ({"criterion": "l2"}, "criterion must be one of 'l1', 'mse', not 'l2'"),
        ({"layer_weights": {"relu9_9": 1.0}}, "vgg11 has no layer 'relu9_9'"),
        ({"layer_weights": {}}, "layer_weights must map at least one layer"),
        ({"layer_weights": {"2": float("nan")}}, r"layer_weights\['2'\] must be finite, not nan"),
        (
            {"backbone": "resnet18", "layer_weights": {"layer1.0.conv9": 1.0}},
            "ResNet has no layer 'layer1.0.conv9'; did you mean 'layer1.0.conv",
        ),
        ({"perceptual_weight": 0, "style_weight": 0}, "are both 0"),
        ({"norm_img": True, "data_range": 1.0}, "give norm_img=True or data_range=1.0, not both"),
        ({"weights": "imagenet22k"}, "weights of vgg11 must be 'default', 'IMAGENET1K_V1'"),
        ({"backbone": "resnet19"}, "there is no backbone 'resnet19'; did you mean"),
        ({"backbone": "timm/nothing"}, "timm has no network 'nothing'"),
        ({"backbone": "tim/nothing"}, "'tim/nothing' is of no known family"),
        ({"reduction": "avg"}, "reduction must be one of"),
    ],
)
def test_wrong_options_are_told(arguments: dict[str, Any], message: str) -> None:
    arguments = {"layer_weights": LAYERS, "vgg_type": "vgg11", "weights": "random", **arguments}
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t[..., :-1], ValueError, "pred and target must have one shape"),
        (
            lambda t: t.to(torch.uint8),
            TypeError,
            "target must be a floating-point tensor, not torch.uint8",
        ),
    ],
)
def test_wrong_images_are_told(change: Any, error: type[Exception], message: str) -> None:
    loss = PerceptualLoss({"conv1_1": 1.0}, vgg_type="vgg11", weights="random")
    pred, target = images()
    with pytest.raises(error, match=message):
        loss(pred, change(target))
    with pytest.raises(ValueError, match=r"pred must have the shape \(b, 3, h, w\)"):
        loss(pred[:, :1], target[:, :1])
    with pytest.raises(ValueError, match="pred must hold at least one pixel"):
        loss(pred[:0], target[:0])
    with pytest.raises(ValueError, match=r"mask must be \(b, 1, h, w\)"):
        loss(pred, target, torch.ones(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"backbone": 3}, "backbone must be a name"), ({"weights": 3}, "weights must be a name or")],
)
def test_what_is_no_name_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"{message}.*not 3"):
        PerceptualLoss(LAYERS, **options)


def test_layer_weights_must_be_numbers() -> None:
    with pytest.raises(TypeError, match=r"layer_weights\['2'\] must be a number, not '1'"):
        PerceptualLoss({"2": "1"}, vgg_type="vgg11", weights="random")


def test_the_example_network_is_shared_through_the_public_call() -> None:
    from losskit_perceptual import find_recipe

    recipe = find_recipe("vgg11", "random")
    backbone = shared_backbone(recipe.build, *recipe.args, layers="relu1_1", transform=recipe.norm)
    loss = PerceptualLoss(LAYERS, vgg_type="vgg11", weights="random")
    assert backbone.network is loss.backbone.network
