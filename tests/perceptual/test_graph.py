"""Any network as a trunk: cut out of its graph, or watched where it cannot be traced."""

import copy
import io
import operator
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from losskit.backbones import InputNorm
from losskit_perceptual import ContextualLoss, FeatureDistance, PerceptualLoss, StyleLoss
from losskit_perceptual.networks.graph import GraphNetwork, as_feature_network
from losskit_perceptual.networks.hooked import HookNetwork

compiles = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

#: As published, but shallow and narrow.
SMALL: dict[str, Any] = {"num_classes": 0, "depth": 2, "embed_dim": 32, "num_heads": 2}
ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}
HIERARCHY: dict[str, Any] = {"num_classes": 0, "embed_dim": 16, "img_size": 64}


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **SMALL, **ANY_SIZE)


def dinov2() -> nn.Module:
    return _scaled(timm.create_model("vit_small_patch14_dinov2", **SMALL, **ANY_SIZE))


def dinov2_registers() -> nn.Module:
    return _scaled(timm.create_model("vit_small_patch14_reg4_dinov2", **SMALL, **ANY_SIZE))


def hiera() -> nn.Module:
    return timm.create_model("hiera_tiny_224", **HIERARCHY, num_heads=1, stages=(1, 1, 1, 1))


def swin() -> nn.Module:
    depths = {"depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
    return timm.create_model("swin_tiny_patch4_window7_224", **HIERARCHY, **depths)


def _scaled(model: nn.Module) -> nn.Module:
    """With layer scales that are not next to 0, as trained ones are not."""
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)
    return model


TOKENS = [
    pytest.param(vit, ("blocks.0", "blocks.1.attn.proj"), (32, 40), id="vit"),
    pytest.param(dinov2, ("blocks.1", "norm"), (28, 42), id="dinov2"),
    pytest.param(
        dinov2_registers,
        ("blocks.1",),
        (30, 40),
        id="dinov2 with registers",
        marks=pytest.mark.slow,
    ),
    pytest.param(hiera, ("blocks.0",), (64, 64), id="hiera", marks=pytest.mark.slow),
    pytest.param(swin, ("layers.0", "layers.1"), (64, 64), id="swin"),
]


def make(build: Callable[[], nn.Module], layers: tuple[str, ...], **options: Any) -> PerceptualLoss:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
    weights = dict.fromkeys(layers, 1.0)
    return PerceptualLoss(weights, style_weight=0, backbone=network, data_range=1.0, **options)


def images(height: int, width: int) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.rand(2, 3, height, width) for _ in range(2)]


def value_and_gradient(loss: Any, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    pred = pred.clone().requires_grad_()
    value = loss(pred, target)
    return value.detach(), torch.autograd.grad(value, pred)[0]


# --- the compiler ---------------------------------------------------------------------------


@compiles
@pytest.mark.parametrize(("build", "layers", "size"), TOKENS)
def test_token_networks_compile_without_a_break(
    build: Callable[[], nn.Module], layers: tuple[str, ...], size: tuple[int, int]
) -> None:
    loss = make(build, layers)
    pred, target = images(*size)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    expected = value_and_gradient(loss, pred, target)
    assert expected[1].abs().sum() > 0
    torch.testing.assert_close(value_and_gradient(compiled, pred, target), expected)
    expected = value_and_gradient(loss, target, pred)
    torch.testing.assert_close(value_and_gradient(compiled, target, pred), expected)
    assert counter.frame_count == 1  # nothing that a pass leaves behind asks for another


@compiles
@pytest.mark.parametrize(("build", "layers", "size"), TOKENS)
def test_token_networks_take_the_compile_option(
    build: Callable[[], nn.Module],
    layers: tuple[str, ...],
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = make(build, layers)
    counter = CompileCounterWithBackend("aot_eager")
    quick = partial(torch.compile, fullgraph=True, backend=counter)
    monkeypatch.setattr(torch, "compile", quick)
    loss = make(build, layers, compile=True)
    pred, target = images(*size)
    expected = value_and_gradient(plain, pred, target)
    torch.testing.assert_close(value_and_gradient(loss, pred, target), expected)
    assert counter.frame_count > 0
    start = loss.backbone.passes
    value_and_gradient(loss, pred, target)
    assert loss.backbone.passes - start == 1  # the target's features are known


@pytest.mark.slow
@compiles
def test_the_compile_option_on_tokens_with_the_default_compiler() -> None:
    layers, size = ("blocks.1",), (28, 42)
    loss, plain = make(dinov2, layers, compile=True), make(dinov2, layers)
    expected = value_and_gradient(plain, *images(*size))
    found = value_and_gradient(loss, *images(*size))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


class Part(nn.Module):
    """A convolution that an in-place operation follows."""

    def __init__(self, breaks: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.breaks = breaks

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.breaks:
            torch._dynamo.graph_break()
        return x.relu_()


def masked(x: Tensor) -> None:
    x.masked_fill_(x < 0, 0)


def assigned(x: Tensor) -> None:
    x[:, 0] = 0


#: Ways to write into a layer's output; those that give nothing are statements.
WRITING: dict[str, Callable[[Tensor], Any]] = {
    "torch.relu_": torch.relu_,
    "F.leaky_relu_": nn.functional.leaky_relu_,
    "iadd": lambda x: operator.iadd(x, 1),
    "method": lambda x: (x.relu_(), None)[1],
    "module": lambda x: x,
    "F.relu": lambda x: (nn.functional.relu(x, True), None)[1],
    "a view": lambda x: (x[:, :1].mul_(3), None)[1],
    "masked": masked,
    "assigned": assigned,
}


class Writing(nn.Module):
    """Two convolutions between which one writes into the first's output."""

    def __init__(self, write: str, traceable: bool = True) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
        self.act = nn.ReLU(inplace=True)
        self.write, self.traceable = write, traceable

    def forward(self, image: Tensor) -> Tensor:
        if not self.traceable and image.shape[-1] < 3:
            raise ValueError("too small")
        x = self.first(image)
        if self.write == "module":
            self.act(x)
        written = WRITING[self.write](x)
        return self.second(x if written is None else written)


@pytest.mark.parametrize("traceable", [True, False])
@pytest.mark.parametrize("write", WRITING)
def test_in_place_operations_neither_vanish_nor_touch_what_was_seen(
    write: str, traceable: bool
) -> None:
    network = Writing(write, traceable)
    image = images(8, 8)[0].detach()
    before = image.clone()
    with torch.no_grad():
        first = network.first(image)
        second = network(image)
    kind = GraphNetwork if traceable and write != "assigned" else HookNetwork
    for layers in (("first",), ("second",), ("first", "second")):
        loss = make(lambda: network, layers)
        assert type(loss.backbone.network) is kind
        image.requires_grad_(True)
        found = loss.backbone.features(image)
        expected = {"first": first, "second": second}
        torch.testing.assert_close(found, {name: expected[name] for name in layers})
        image.requires_grad_(False)
    assert torch.equal(image, before)


def test_a_network_that_writes_into_its_image_leaves_the_callers_alone() -> None:
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))
    loss = PerceptualLoss({"1": 1.0}, style_weight=0, backbone=network, use_input_norm=False)
    image = torch.rand(1, 3, 4, 4) * 2 - 1
    before = image.clone()
    loss(image, image.flip(0))
    assert torch.equal(image, before)


def test_a_pickled_loss_takes_its_own_network_along() -> None:
    for network in (Writing("torch.relu_"), Writing("torch.relu_", traceable=False)):
        loss = make(lambda network=network: network, ("first", "second"))
        pred, target = images(8, 8)
        expected = loss(pred, target)
        with torch.no_grad():
            network.first.weight.mul_(3)
        again = pickle.loads(pickle.dumps(loss))
        torch.testing.assert_close(again(pred, target), expected)
        torch.testing.assert_close(pickle.loads(pickle.dumps(again))(pred, target), expected)


class Untraceable(nn.Module):
    """Three parts, the last of which may be one that must not run."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            x = x[..., 1:]
        for part in self.parts:
            x = part(x)
        return x


class Never(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("deeper than asked for")


@compiles
def test_nothing_deeper_is_run_compiled_or_not() -> None:
    loss = make(lambda: Untraceable(Part(), Part(), Never()), ("parts.0.conv", "parts.1"))
    assert isinstance(loss.backbone.network, HookNetwork)
    pred, target = images(8, 9)
    expected = value_and_gradient(loss, pred, target)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(value_and_gradient(compiled, pred, target), expected)
    deeper = make(lambda: Untraceable(Part(), Never()), ("parts.1",))
    with pytest.raises(AssertionError, match="deeper than asked for"):
        deeper(pred, target)


@compiles
def test_what_is_overwritten_is_copied_compiled_or_not() -> None:
    loss = make(lambda: Untraceable(Part(), Part()), ("parts.0.conv", "parts.1.conv"))
    found = loss.backbone.features(images(8, 8)[0])
    assert all(value.min() < 0 for value in found.values())
    compiled = torch.compile(loss.backbone.features, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images(8, 8)[0]), found)


@compiles
@pytest.mark.parametrize("option", [True, False])
def test_a_network_that_breaks_the_graph_is_still_seen(option: bool) -> None:
    build = partial(Untraceable, Part(), Part(breaks=True), Part())
    pred, target = images(8, 8)
    expected = value_and_gradient(make(build, ("parts.0", "parts.2.conv")), pred, target)
    loss: Any = make(build, ("parts.0", "parts.2.conv"), compile=option)
    if not option:
        loss = torch.compile(loss, backend="aot_eager")
    torch.testing.assert_close(value_and_gradient(loss, pred, target), expected)


@compiles
def test_threads_may_use_a_network_while_another_compiles_it() -> None:
    loss = make(vit, ("blocks.0", "blocks.1"))
    pred, target = images(32, 32)
    expected = value_and_gradient(loss, pred, target)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with ThreadPoolExecutor(4) as pool:
        job = pool.submit(value_and_gradient, compiled, pred, target)
        while not job.done():
            for found in pool.map(lambda _: value_and_gradient(loss, pred, target), range(6)):
                torch.testing.assert_close(found, expected)
    torch.testing.assert_close(job.result(), expected)


# --- copies ---------------------------------------------------------------------------------


def test_a_watched_network_can_be_copied_and_pickled() -> None:
    network = as_feature_network(vit())
    assert isinstance(network, HookNetwork)
    image = images(32, 32)[0]
    layers = ("blocks.0", "blocks.1.attn.proj")
    expected = network(image, layers)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(twin(image, layers), expected, rtol=0, atol=0)
        with torch.no_grad():
            twin.model.patch_embed.proj.weight.zero_()
        assert not torch.equal(twin(image, layers)[0], expected[0])
    assert torch.equal(network(image, layers)[0], expected[0])


def test_a_watched_network_follows_the_images_type() -> None:
    loss = make(vit, ("blocks.1",))
    pred, target = images(32, 32)
    wide = loss(pred.double(), target.double())
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide.float(), loss(pred, target), rtol=1e-5, atol=0)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    assert file.tell() < 2_000
    assert list(loss.parameters()) == []


# --- DINOv2 ---------------------------------------------------------------------------------


def by_hand(model: nn.Module, image: Tensor, depth: int) -> Tensor:
    """DINOv2's tokens after block ``depth``, from the paper's formulas alone."""
    patches = nn.functional.conv2d(
        image, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=14
    )
    rows, columns = patches.shape[2:]
    special = torch.cat([t for t in (model.cls_token, model.reg_token) if t is not None], 1)
    # 37 by 37 places were learnt; registers have none, and here the class token has one of its own.
    places, own = model.pos_embed, 0
    if places.shape[1] % 37:
        places, own = places[:, 1:], 1
    grid = places.reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    grid = nn.functional.interpolate(
        grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False
    )
    first = special.expand(len(image), -1, -1)
    if own:
        first = first + model.pos_embed[:, :1]
    x = torch.cat([first, (patches + grid).flatten(2).transpose(1, 2)], 1)
    for block in model.blocks[: depth + 1]:
        heads = block.attn.num_heads
        qkv = block.attn.qkv(block.norm1(x)).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        scores = qkv[0] @ qkv[1].transpose(-1, -2) / qkv.shape[-1] ** 0.5
        mixed = (scores.softmax(-1) @ qkv[2]).transpose(1, 2).flatten(2)
        x = x + block.ls1.gamma * block.attn.proj(mixed)
        inner = nn.functional.gelu(block.mlp.fc1(block.norm2(x)))
        x = x + block.ls2.gamma * block.mlp.fc2(inner)
    return x


def test_dinov2s_tokens_are_those_of_the_formulas() -> None:
    for build, tokens in ((dinov2, 7), (dinov2_registers, 11)):
        loss = make(build, ("blocks.0", "blocks.1"))
        model = copy.deepcopy(loss.backbone.network.model).double()
        pred, target = (x.double() for x in images(28, 42))
        found = loss.backbone.features(pred)
        assert found["blocks.1"].shape == (2, tokens, 32)
        for layer, depth in (("blocks.0", 0), ("blocks.1", 1)):
            torch.testing.assert_close(found[layer], by_hand(model, pred, depth))

        def plain(a: Tensor, b: Tensor, model: nn.Module = model) -> Tensor:
            parts = [(by_hand(model, a, d) - by_hand(model, b, d)).abs().mean() for d in (0, 1)]
            return parts[0] + parts[1]

        expected = value_and_gradient(plain, pred, target)
        torch.testing.assert_close(value_and_gradient(loss, pred, target), expected)


def tokens_by_timm(model: nn.Module, image: Tensor) -> list[Tensor]:
    """What timm itself gives of the first two blocks."""
    options = {"indices": [0, 1], "output_fmt": "NLC", "stop_early": True}
    more = {"return_prefix_tokens": True, "intermediates_only": True}
    found = model.forward_intermediates(image, **options, **more)
    return [torch.cat([special, patches], 1) for patches, special in found]


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_dinov2_by_name_takes_images_as_it_was_trained(name: str) -> None:
    layers = {"blocks.0": 1.0, "blocks.1": 0.5}
    loss = PerceptualLoss(layers, backbone=f"timm/{name}", weights="random", data_range=(-1, 1))
    model = copy.deepcopy(loss.backbone.network.model)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)

    def plain(pred: Tensor, target: Tensor) -> Tensor:
        total = torch.zeros(())
        fake, real = (tokens_by_timm(model, ((x + 1) / 2 - mean) / std) for x in (pred, target))
        for a, b, weight in zip(fake, real, layers.values(), strict=True):
            total = total + weight * (a - b).abs().mean()
            grams = [t.transpose(1, 2) @ t / t[0].numel() for t in (a, b)]
            total = total + weight * (grams[0] - grams[1]).abs().mean()
        return total

    pred, target = (2 * x - 1 for x in images(42, 56))
    expected = value_and_gradient(plain, pred, target)
    found = value_and_gradient(loss, pred, target)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-8)


def test_dinov2_pads_what_is_no_whole_number_of_patches_with_the_mean_colour() -> None:
    loss = make(dinov2, ("blocks.1",))
    norm = InputNorm.imagenet()
    with_norm = as_feature_network(copy.deepcopy(loss.backbone.network.model))
    image = images(30, 40)[0]
    padded = torch.tensor(norm.mean).view(1, 3, 1, 1).repeat(2, 1, 42, 42)
    padded[..., :30, :40] = image
    found, expected = (with_norm(norm(x), ("blocks.1",))[0] for x in (image, padded))
    torch.testing.assert_close(found, expected)


def test_masks_fall_on_dinov2s_patches() -> None:
    pred, target = images(28, 42)
    mask = torch.zeros(2, 1, 28, 42)
    mask[..., :14, 14:28] = 1
    elsewhere = pred.clone()
    elsewhere[..., 14:, :] = 0.5
    for layer in ("patch_embed", "patch_embed.proj"):  # of patches that know nothing of each other
        loss = make(dinov2_registers, (layer,))
        value = loss(pred, target, mask)
        torch.testing.assert_close(loss(elsewhere, target, mask), value, rtol=0, atol=0)
        inside = pred.clone()
        inside[..., 5, 20] = 0.5
        assert loss(inside, target, mask) != value
        # All that counts is one patch: the loss of an image that is nothing else.
        patch = (..., slice(0, 14), slice(14, 28))
        torch.testing.assert_close(value, loss(pred[patch], target[patch]))


def test_other_losses_look_through_tokens_too() -> None:
    pred, target = images(28, 42)
    for loss in (
        StyleLoss({"blocks.1": 1.0}, backbone=dinov2()),
        FeatureDistance(backbone=dinov2(), layers=("blocks.0", "blocks.1")),
    ):
        value, gradient = value_and_gradient(loss, pred, target)
        assert value > 0
        assert gradient.abs().sum() > 0
        assert loss(target, target) == 0


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("swin_tiny_patch4_window7_224", "layers.0", (1, 96, 16, 24)),
        ("deit_tiny_patch16_224", "blocks.0", (1, 25, 192)),
        ("resnet10t", "layer1", (1, 64, 16, 24)),  # knows no such option
    ],
)
def test_timms_networks_take_other_sizes_than_they_were_trained_at(
    name: str, layer: str, shape: tuple[int, ...]
) -> None:
    loss = FeatureDistance(backbone=f"timm/{name}", layers=(layer,), weights="random")
    pred, target = (x[:1] for x in images(64, 96))
    assert loss.backbone.features(pred)[layer].shape == shape
    value, gradient = value_and_gradient(loss, pred, target)
    assert value > 0
    assert gradient.abs().sum() > 0


def test_the_contextual_loss_takes_tokens_without_their_places() -> None:
    pred, target = images(28, 42)
    loss = ContextualLoss({"blocks.1": 2.0}, backbone=dinov2(), distance="l2")
    fake, real = (loss.backbone.features(x)["blocks.1"].double() for x in (pred, target))
    distances = torch.cdist(fake, real).square()
    relative = distances / (distances.amin(2, keepdim=True) + 1e-5)
    similar = torch.exp((1 - relative) / 0.5)
    similar = similar / similar.sum(2, keepdim=True)
    wanted = -2 * (similar.amax(1).mean(1) + 1e-5).log().mean()
    torch.testing.assert_close(loss(pred, target).double(), wanted, rtol=1e-3, atol=1e-5)
    bilateral = ContextualLoss({"blocks.1": 1.0}, backbone=dinov2(), spatial_weight=0.1)
    with pytest.raises(ValueError, match=r"spatial_weight=0.1 needs maps, and layer 'blocks.1'"):
        bilateral(pred, target)


# --- what cannot be looked through ----------------------------------------------------------


class Pair(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


class Skips(nn.Module):
    """Cannot be traced, and has a module that gives no tensor and one that it never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.unused = Pair(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(x, Tensor)
        return self.pair(x)["x"]


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("pair", TypeError, "layer 'pair' gives a dict, not a tensor"),
        ("unused", ValueError, "Skips does not run its module 'unused'"),
        ("pairs", ValueError, "Skips has no module 'pairs'; did you mean 'pair'"),
    ],
)
def test_layers_that_cannot_be_seen_are_told(
    layer: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(Skips, (layer,))(*images(8, 8))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_what_to_give() -> None:
    scripted = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.ones(1, 3, 4, 4))
    with pytest.raises(TypeError, match="give the module that it was scripted or traced from"):
        make(lambda: scripted, ("conv",))


def test_a_traceable_network_is_cut_not_watched() -> None:
    assert isinstance(as_feature_network(swin()), GraphNetwork)
    assert isinstance(as_feature_network(dinov2()), HookNetwork)


def test_a_mask_on_tokens_that_are_not_in_rows_is_refused() -> None:
    pred, target = images(64, 64)
    loss = make(hiera, ("blocks.1",))
    assert torch.isfinite(loss(pred, target))
    with pytest.raises(ValueError, match=r"^mask cannot be laid on Hiera's tokens") as caught:
        loss(pred, target, torch.ones(2, 1, 64, 64))
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 32:, 32:] = 1
    pred = target.clone()
    pred[..., :8, :8] = 0.5
    maps = make(hiera, ("patch_embed.proj",))  # before they are tokens
    assert maps(pred, target, mask) == 0
    assert maps(pred, target, 1 - mask) > 0
    assert "\n" not in str(caught.value)
