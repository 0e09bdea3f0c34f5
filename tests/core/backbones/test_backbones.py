"""Shared frozen backbones: what is shared, what is cached, and when it must not be."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import losskit
from losskit.backbones import (
    Backbone,
    BackboneRecipe,
    EmbeddingNetwork,
    FeatureNetwork,
    InputNorm,
    backbone_recipe,
    clear_features,
    has_storage,
    set_cache_size,
    shared_backbone,
)
from losskit.losses.base import Loss

NORM = InputNorm((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


class Chain(FeatureNetwork):
    layer_names = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5))
            for _ in range(3)
        )
        self.deepest = 0

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        found = {}
        x = image
        for depth, (name, stage) in enumerate(zip(self.layer_names, self.stages, strict=True)):
            x = torch.tanh(stage(x))
            found[name] = x
            if not torch.compiler.is_compiling():
                self.deepest = depth
            if set(layers) <= found.keys():
                break
        return tuple(found[name] for name in layers)


def build_chain(weights: str) -> Chain:
    return Chain()


def build_embedding(weights: str) -> FeatureNetwork:
    return EmbeddingNetwork(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)))


def build_doubling(file: str) -> FeatureNetwork:
    network = Chain()
    for parameter in network.parameters():
        nn.init.constant_(parameter, float(Path(file).read_text()))
    return network


class ChainLoss(Loss):
    def __init__(self, *layers: str, weights: str = "one", **options: object) -> None:
        super().__init__()
        self.backbone = shared_backbone(
            build_chain, weights, layers=layers, transform=NORM, **options
        )

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        fake = self.backbone.features(pred)
        real = self.backbone.features(target, grad=False)
        return sum((fake[k].float() - real[k].float()).square().mean() for k in fake)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    gc.collect()
    clear_features()
    yield
    set_cache_size(4)


def image(**options: object) -> Tensor:
    return torch.rand(2, 3, 8, 8, **options)


def expected(loss: ChainLoss, pred: Tensor, target: Tensor) -> Tensor:
    """The loss without any sharing or cache."""
    network = copy.deepcopy(loss.backbone.network).to(pred.dtype)
    layers = loss.backbone.layers
    fake, real = network(NORM(pred), layers), network(NORM(target.to(pred.dtype)), layers)
    return sum((a - b).square().mean() for a, b in zip(fake, real, strict=True))


# --- one object -----------------------------------------------------------------------------


def test_equal_requests_get_one_network_and_others_another() -> None:
    first, second = ChainLoss("a"), ChainLoss("b", "c")
    other = ChainLoss("a", weights="two")
    assert first.backbone.network is second.backbone.network
    assert first.backbone.network is not other.backbone.network


def test_copies_and_pickles_share_it() -> None:
    loss = ChainLoss("a")
    for twin in (copy.deepcopy(loss), copy.copy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin.backbone.network is loss.backbone.network
        assert twin.backbone is loss.backbone or twin.backbone.layers == ("a",)


def test_a_pickle_read_when_nobody_uses_the_network_rebuilds_equal_weights() -> None:
    loss = ChainLoss("c", weights="gone")
    pred, target = image(), image()
    value, data = loss(pred, target), pickle.dumps(loss)
    gone = weakref.ref(loss.backbone.network)
    del loss
    gc.collect()
    assert gone() is None
    assert torch.equal(pickle.loads(data)(pred, target), value)


def test_the_network_goes_with_its_last_user() -> None:
    loss = ChainLoss("a", weights="short-lived")
    network = weakref.ref(loss.backbone.network)
    target = image()
    loss(image(), target)  # the cache must not keep it alive while the target lives
    del loss
    gc.collect()
    assert network() is None
    assert target.sum() > 0


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    ChainLoss("a", weights="seeded")
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


def test_a_weights_file_written_anew_is_another_network(tmp_path: Path) -> None:
    file = tmp_path / "weights.txt"
    file.write_text("0.5")
    old = shared_backbone(build_doubling, str(file), layers=("a",))
    file.write_text("0.25  ")
    new = shared_backbone(build_doubling, str(file), layers=("a",))
    assert next(new.network.parameters()).flatten()[0] == 0.25
    assert next(old.network.parameters()).flatten()[0] == 0.5


# --- frozen, and out of the way -------------------------------------------------------------


def test_a_loss_has_none_of_its_parameters_and_train_does_not_reach_it() -> None:
    model = nn.ModuleDict({"net": nn.Linear(2, 2), "loss": ChainLoss("c")})
    model.train()
    assert {name for name, _ in model.named_parameters()} == {"net.weight", "net.bias"}
    assert set(model.state_dict()) == {"net.weight", "net.bias"}
    network = model["loss"].backbone.network
    network.train()
    assert not any(module.training for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    pred, target = image(), image()
    assert torch.equal(model["loss"](pred, target), model["loss"](pred, target))


def test_gradient_goes_to_pred_and_never_to_target() -> None:
    loss = ChainLoss("b")
    pred, target = image(requires_grad=True), image(requires_grad=True)
    with losskit.shared_features():
        (loss(pred, target) + loss(pred, target * 1.0)).backward()
    assert pred.grad is not None
    assert pred.grad.abs().sum() > 0
    assert target.grad is None


@pytest.mark.parametrize("shared", [True, False])
def test_the_same_tensor_as_pred_and_target(shared: bool) -> None:
    loss = ChainLoss("a")
    pred = image(requires_grad=True)
    if shared:
        with losskit.shared_features():
            value = loss(pred, pred)
    else:
        value = loss(pred, pred)
    value.backward()
    assert value == 0
    assert pred.grad is not None
    assert not pred.grad.any()


def test_it_follows_the_images_type_and_loses_nothing_on_the_way() -> None:
    loss = ChainLoss("c")
    pred, target = image(), image()
    before = loss(pred, target)
    half = loss(pred.bfloat16(), target.bfloat16())
    assert half.dtype == torch.float32
    wide = loss.double()(pred.double(), target.double())
    assert wide == pytest.approx(expected(loss, pred.double(), target.double()).item(), rel=1e-6)
    assert loss.backbone.features(pred.double())["c"].dtype == torch.float64
    assert torch.equal(loss.half().float()(pred.clone(), target.clone()), before)


def test_autocast_does_not_change_the_precision() -> None:
    loss = ChainLoss("c")
    pred, target = image(), image()
    with torch.autocast("cpu", torch.bfloat16):
        features = loss.backbone.features(pred)["c"]
    assert features.dtype == torch.float32
    assert torch.equal(features, loss.backbone.features(pred.clone())["c"])
    assert loss(pred, target).dtype == torch.float32


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"channels_last": True}])
def test_options_change_how_it_runs_but_not_which_network(options: dict[str, object]) -> None:
    plain, fast = ChainLoss("c"), ChainLoss("c", **options)
    pred, target = image(requires_grad=True), image()
    assert fast.backbone.network is plain.backbone.network
    torch.testing.assert_close(fast(pred, target), plain(pred, target), rtol=0.05, atol=1e-3)
    feature = fast.backbone.features(pred)["c"]
    if "precision" in options:
        assert feature.dtype == torch.bfloat16
    else:
        assert feature.is_contiguous(memory_format=torch.channels_last)
    fast(pred, target).backward()
    assert pred.grad is not None


# --- one pass per image and step ------------------------------------------------------------


def test_a_step_runs_each_image_once_for_all_losses() -> None:
    shallow, deep = ChainLoss("a"), ChainLoss("b", "c")
    pred, target = image(requires_grad=True), image()
    start = shallow.backbone.passes
    with losskit.shared_features():
        total = shallow(pred, target) + deep(pred, target)
    assert shallow.backbone.passes - start == 2
    total.backward()
    alone = expected(shallow, pred.detach(), target) + expected(deep, pred.detach(), target)
    torch.testing.assert_close(total.detach(), alone)


def test_shared_gradients_are_those_of_the_losses_alone() -> None:
    shallow, deep = ChainLoss("a"), ChainLoss("b", "c")
    pred, target = image(requires_grad=True), image()
    with losskit.shared_features():
        (shallow(pred, target) + deep(pred, target)).backward()
    together, pred.grad = pred.grad, None
    (expected(shallow, pred, target) + expected(deep, pred, target)).backward()
    torch.testing.assert_close(together, pred.grad)


def test_it_runs_just_as_deep_as_the_deepest_layer_wanted() -> None:
    shallow, deep = ChainLoss("a"), ChainLoss("c")
    network = shallow.backbone.network
    shallow(image(), image())
    assert network.deepest == 0  # a direct call asks for its own layers only
    with losskit.shared_features(shallow):
        shallow(image(), image())
    assert network.deepest == 0  # the step's losses are known
    with losskit.shared_features():
        shallow(image(), image())
    assert network.deepest == 2  # any living loss may follow
    del deep
    gc.collect()
    with losskit.shared_features():
        shallow(image(), image())
    assert network.deepest == 0


def test_an_owner_is_searched_for_all_its_losses() -> None:
    owner = nn.ModuleList([ChainLoss("a"), nn.Sequential(ChainLoss("b"))])
    ChainLoss("c")
    outside = ChainLoss("c")
    pred, target = image(requires_grad=True), image()
    start = owner[0].backbone.passes
    with losskit.shared_features(owner):
        owner[0](pred, target) + owner[1][0](pred, target)
    assert owner[0].backbone.passes - start == 2
    assert outside.backbone.network.deepest == 1


def test_blocks_nest_and_the_outermost_counts() -> None:
    loss = ChainLoss("a")
    pred, target = image(requires_grad=True), image()
    start = loss.backbone.passes
    with losskit.shared_features():
        with losskit.shared_features():
            loss(pred, target)
        loss(pred, target)
    assert loss.backbone.passes - start == 2
    loss(pred, target)
    assert loss.backbone.passes - start == 3  # outside, pred is run again


def test_an_objective_shares_without_being_told() -> None:
    terms = [losskit.Term(ChainLoss("a"), loss_name="loss_a")]
    terms += [losskit.Term(ChainLoss("c"), loss_name="loss_c")]
    objective = losskit.Objective(terms)
    pred, target = image(requires_grad=True), image()
    start = terms[0].loss.backbone.passes
    out = objective(pred=pred, target=target)
    out.total.backward()
    assert terms[0].loss.backbone.passes - start == 2
    objective(pred=pred, target=target)
    assert terms[0].loss.backbone.passes - start == 3  # the target was remembered


def test_two_objectives_do_not_mix_their_networks_or_images() -> None:
    first, second = ChainLoss("a"), ChainLoss("a", weights="other")
    # The build is seeded, so make the two differ.
    second.backbone.network.stages[0][0].weight.data.mul_(2)
    images = [(image(), image()) for _ in range(2)]
    for _ in range(2):
        for pred, target in images:
            for loss in (first, second):
                with losskit.shared_features():
                    value = loss(pred, target)
                torch.testing.assert_close(value, expected(loss, pred, target))


# --- the cache ------------------------------------------------------------------------------


def test_an_unchanged_target_costs_one_pass_in_many_steps() -> None:
    loss = ChainLoss("b")
    target = image()
    start = loss.backbone.passes
    for _ in range(5):
        loss(image(requires_grad=True), target)
    assert loss.backbone.passes - start == 6


def test_a_layer_more_is_one_pass_more_and_then_all_are_known() -> None:
    shallow, deep = ChainLoss("a"), ChainLoss("c")
    target, start = image(), shallow.backbone.passes
    for loss in (shallow, deep, shallow, deep):
        loss.backbone.features(target, grad=False)
    assert shallow.backbone.passes - start == 2


def _through_numpy(target: Tensor) -> None:
    array = target.numpy()
    array[:] = array[..., ::-1].copy()  # the same values, elsewhere


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.mul_(0.5),
        lambda t: t[0, 0, 0].fill_(0.25),
        lambda t: t.detach().add_(0.1),
        lambda t: t.data.add_(0.1),
        lambda t: setattr(t, "data", torch.rand_like(t)),
        lambda t: setattr(t, "data", t.data.flip(0)),
        lambda t: t.transpose_(2, 3),
        _through_numpy,
    ],
    ids=["mul_", "slice", "detach", "data", "new data", "flip", "transpose_", "numpy"],
)
def test_a_target_changed_in_place_is_seen_anew(change: object) -> None:
    loss = ChainLoss("c")
    pred, target = image(), image()
    before = loss(pred, target)
    change(target)
    after = loss(pred, target)
    assert after != before
    torch.testing.assert_close(after, expected(loss, pred, target))


def test_a_change_within_a_step_is_seen() -> None:
    loss = ChainLoss("a")
    pred, target = image(), image()
    leaf = image(requires_grad=True)
    with losskit.shared_features():
        loss(leaf, target)
        with torch.no_grad():
            leaf.add_(0.5)
        torch.testing.assert_close(loss(leaf, target), expected(loss, leaf, target))
        loss(pred, target)
        pred.mul_(0.5)
        torch.testing.assert_close(loss(pred, target), expected(loss, pred, target))


def test_a_new_tensor_at_the_same_address_is_another_image() -> None:
    loss = ChainLoss("a")
    pred = image()
    memory = torch.empty(2 * 3 * 8 * 8)
    for _ in range(3):
        memory.copy_(torch.rand_like(memory))
        target = memory.view(2, 3, 8, 8)
        torch.testing.assert_close(loss(pred, target), expected(loss, pred, target))
        del target  # the next view may get this one's id and has its address


def test_tensors_that_come_and_go_are_never_mixed_up() -> None:
    loss = ChainLoss("a")
    pred = image()
    for _ in range(50):  # ids and addresses are used again
        target = image()
        torch.testing.assert_close(loss(pred, target), expected(loss, pred, target))


def test_a_changed_type_is_seen() -> None:
    loss = ChainLoss("a")
    target = image()
    assert loss.backbone.features(target, grad=False)["a"].dtype == torch.float32
    target.data = target.data.double()
    assert loss.backbone.features(target, grad=False)["a"].dtype == torch.float64


@pytest.mark.parametrize("shared", [True, False])
def test_no_grad_then_grad(shared: bool) -> None:
    loss = ChainLoss("b")
    pred, target = image(requires_grad=True), image()

    def step() -> Tensor:
        with torch.no_grad():
            assert not loss(pred, target).requires_grad
        return loss(pred, target)

    if shared:
        with losskit.shared_features():
            value = step()
    else:
        value = step()
    value.backward()
    assert pred.grad is not None
    assert pred.grad.abs().sum() > 0


def test_features_made_in_inference_mode_do_not_reach_training() -> None:
    loss = ChainLoss("b", weights="inference")
    pred, target = image(requires_grad=True), image()
    with torch.inference_mode():
        loss(pred, target)
        loss(image(), image())
    loss(pred, target).backward()  # "inference tensors cannot be saved for backward" otherwise


def test_in_inference_mode_a_step_shares_and_sees_changes() -> None:
    loss, other = ChainLoss("a"), ChainLoss("c")
    with torch.inference_mode(), losskit.shared_features():
        for pred, target in [(image(), image())] * 2:
            start = loss.backbone.passes
            loss(pred, target)
            other(pred, target)
            assert loss.backbone.passes - start == 2
            pred.mul_(0.5)  # nothing counts this write
            target[0, 0, 0, 0] += 1
        torch.testing.assert_close(loss(pred, target), expected(loss, pred, target))


def test_what_a_step_made_in_inference_mode_is_in_no_graph() -> None:
    loss = ChainLoss("b")
    with torch.inference_mode():
        target = image()
    pred = image(requires_grad=True)
    with losskit.shared_features():
        with torch.inference_mode():
            loss(pred, target)
        loss(pred, target.clone()).backward()
    assert pred.grad.abs().sum() > 0


def test_a_target_that_takes_gradients_is_seen_to_change() -> None:
    loss = ChainLoss("a")
    target = image(requires_grad=True)  # as a parameter would
    before = loss.backbone.features(target, grad=False)["a"]
    target.data.mul_(0.5)
    assert not torch.equal(loss.backbone.features(target, grad=False)["a"], before)


def test_an_inference_tensor_is_never_cached() -> None:
    loss = ChainLoss("a")
    with torch.inference_mode():
        target = image()
    start = loss.backbone.passes
    loss.backbone.features(target, grad=False)
    loss.backbone.features(target, grad=False)
    assert loss.backbone.passes - start == 2


def test_functorch_transforms_go_through() -> None:
    loss = ChainLoss("a")
    pred, target = image(), image()
    gradient = torch.func.grad(lambda p: loss(p, target))(pred)
    leaf = pred.clone().requires_grad_()
    loss(leaf, target).backward()
    torch.testing.assert_close(gradient, leaf.grad)
    each = torch.func.vmap(lambda p: loss(p[None], target[:1]))(pred)
    assert each.shape == (2,)


def test_tensors_without_memory_of_their_own_are_told() -> None:
    seen: list[bool] = []

    def note(x: Tensor) -> Tensor:
        seen.append(has_storage(x))
        return x.sum()

    torch.func.grad(note)(torch.ones(2))
    torch.func.vmap(note)(torch.ones(2, 2))
    assert seen == [False, False]
    assert not has_storage(torch.ones(2).to_sparse())
    assert has_storage(torch.ones(2, requires_grad=True))
    assert has_storage(torch.empty(2, device="meta"))


def test_threads_share_the_network_and_not_each_others_steps() -> None:
    loss = ChainLoss("a", "c")
    failures: list[object] = []
    barrier = threading.Barrier(4)

    def work(seed: int) -> None:
        try:
            generator = torch.Generator().manual_seed(seed)
            barrier.wait()
            for _ in range(15):
                pred = torch.rand(1, 3, 8, 8, generator=generator, requires_grad=True)
                target = torch.rand(1, 3, 8, 8, generator=generator)
                with losskit.shared_features():
                    value = loss(pred, target) + loss(pred, target)
                value.backward()
                torch.testing.assert_close(value, 2 * expected(loss, pred, target))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def _living_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_memory_returns_to_the_baseline_after_a_step() -> None:
    loss = ChainLoss("a", "b", "c")

    def step() -> None:
        pred, target = image(requires_grad=True), image()
        with losskit.shared_features():
            loss(pred * 1.0, target).backward()

    step()
    before = _living_tensors()
    step()
    assert _living_tensors() == before


def test_preds_graph_is_let_go_at_the_end_of_the_step() -> None:
    loss = ChainLoss("a")
    pred = image(requires_grad=True)
    with losskit.shared_features():
        generated = pred * 1.0
        feature = weakref.ref(loss.backbone.features(generated)["a"])
        assert feature() is not None
        node = weakref.ref(generated)
        del generated
        assert node() is not None  # held until the step ends, so that its id stays its own
    assert feature() is None
    assert node() is None


def test_features_go_when_their_image_goes() -> None:
    loss = ChainLoss("a")
    target = image()
    feature = weakref.ref(loss.backbone.features(target, grad=False)["a"])
    gc.collect()
    assert feature() is not None
    del target
    assert feature() is None


def test_the_cache_is_bounded_and_keeps_what_was_used_last() -> None:
    loss = ChainLoss("a")
    images = [image() for _ in range(6)]
    for each in images:
        loss.backbone.features(each, grad=False)
    start = loss.backbone.passes
    loss.backbone.features(images[-1], grad=False)
    assert loss.backbone.passes == start
    loss.backbone.features(images[0], grad=False)
    assert loss.backbone.passes == start + 1


def test_the_cache_can_be_turned_off_and_emptied() -> None:
    loss, target = ChainLoss("a"), image()
    loss.backbone.features(target, grad=False)
    clear_features()
    start = loss.backbone.passes
    loss.backbone.features(target, grad=False)
    set_cache_size(0)
    loss.backbone.features(target, grad=False)
    loss.backbone.features(target, grad=False)
    assert loss.backbone.passes - start == 3
    with pytest.raises(ValueError, match="images must be 0 or more, not -1"):
        set_cache_size(-1)


def test_transforms_share_when_they_are_equal() -> None:
    equal = [
        shared_backbone(build_chain, "one", layers=("a",), transform=InputNorm.imagenet(-1, 1))
        for _ in range(2)
    ]
    other = shared_backbone(build_chain, "one", layers=("a",), transform=InputNorm.imagenet())
    target, start = image(), other.passes
    for backbone in (*equal, other):
        backbone.features(target, grad=False)
    assert other.passes - start == 2


# --- compile --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_callers_have_no_graph_break_and_the_same_gradient() -> None:
    loss = ChainLoss("a", "c", weights="compiled")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for dtype in (torch.float32, torch.float64):  # the second copy is made while it is traced
        pred, target = image(requires_grad=True, dtype=dtype), image(dtype=dtype)
        value = compiled(pred, target)
        value.backward()
        gradient, pred.grad = pred.grad, None
        expected(loss, pred, target).backward()
        torch.testing.assert_close(value, expected(loss, pred, target).to(value.dtype))
        torch.testing.assert_close(gradient, pred.grad)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_step_may_hold_the_block() -> None:
    loss = ChainLoss("a", weights="compiled")

    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(pred: Tensor, target: Tensor) -> Tensor:
        with losskit.shared_features():
            return loss(pred, target)

    pred, target = image(requires_grad=True), image()
    torch.testing.assert_close(step(pred, target), expected(loss, pred, target))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_the_compile_option_still_caches() -> None:
    loss = ChainLoss("a", compile=True)
    pred, target = image(requires_grad=True), image()
    start = loss.backbone.passes
    first = loss(pred, target)
    second = loss(pred, target)
    assert loss.backbone.passes - start == 3
    torch.testing.assert_close(first, expected(loss, pred, target))
    torch.testing.assert_close(first, second)


class Declines(Chain):
    """Does not want to be compiled on this machine's device."""

    def gains_from_compile(self, device: str) -> bool:
        return device != "cpu"


def build_declining() -> Declines:
    return Declines()


def test_who_asks_to_compile_shares_with_who_does_not_where_the_network_declines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", mock.Mock(side_effect=AssertionError("compiled")))
    plain = shared_backbone(build_declining, layers=("a",))
    asking = shared_backbone(build_declining, layers=("b",), compile=True)
    bf16 = shared_backbone(build_declining, layers=("b",), compile=True, precision="bf16")
    pred, target, start = image(requires_grad=True), image(), plain.passes
    with losskit.shared_features():
        for backbone in (plain, asking):
            backbone.features(pred)
            backbone.features(target, grad=False)
        assert plain.passes - start == 2
        bf16.features(pred)  # another type: another pass
    assert plain.passes - start == 3
    willing = shared_backbone(build_chain, "one", layers=("a",), compile=True)
    with pytest.raises(AssertionError, match="compiled"):
        willing.features(pred)


# --- for authors ----------------------------------------------------------------------------


def test_an_embedding_is_the_one_layer_of_its_network() -> None:
    backbone = shared_backbone(build_embedding, "x", layers="embedding")
    assert backbone.features(image())["embedding"].shape == (2, 4)


def test_a_module_can_be_an_argument() -> None:
    module = nn.Conv2d(3, 2, 1)
    backbone = shared_backbone(EmbeddingNetwork, module, layers="embedding")
    twin = copy.deepcopy(backbone)
    assert twin.network is backbone.network
    elsewhere = pickle.loads(pickle.dumps(backbone))
    pred = image()
    torch.testing.assert_close(
        elsewhere.features(pred)["embedding"], backbone.features(pred)["embedding"]
    )


def test_a_module_whose_weights_change_is_another_network() -> None:
    module = EmbeddingNetwork(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)))
    target = image()
    before = shared_backbone(_itself, module, layers="embedding").features(target)["embedding"]
    with torch.no_grad():
        module.network[1].bias.add_(1)
    after = shared_backbone(_itself, module, layers="embedding").features(target)["embedding"]
    torch.testing.assert_close(after, before + 1)


@pytest.mark.parametrize("change", ["data", "layer", "setting"])
def test_a_module_changed_behind_torchs_back_is_another_network(change: str) -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.MaxPool2d(2))
    target = image()
    one = shared_backbone(EmbeddingNetwork, inner, layers="embedding")
    if change == "data":
        inner[0].weight.data.mul_(3)
    elif change == "layer":
        inner[1] = nn.Tanh()
    else:
        inner[2].stride = 1
    other = shared_backbone(EmbeddingNetwork, inner, layers="embedding")
    assert other.trunk is not one.trunk
    assert shared_backbone(EmbeddingNetwork, inner, layers="embedding").trunk is other.trunk
    torch.testing.assert_close(other.features(target)["embedding"], inner(target))


@pytest.mark.parametrize("option", [{}, {"channels_last": True}, {"precision": "bf16"}])
def test_a_first_pass_may_be_inside_a_transform(option: dict[str, object]) -> None:
    network = EmbeddingNetwork(nn.Conv2d(3, 2, 1))
    backbone = shared_backbone(_itself, network, layers="embedding", **option)
    pred = image(dtype=torch.float64)

    def total(pred: Tensor) -> Tensor:
        return backbone.features(pred)["embedding"].double().sum()

    slope = torch.func.grad(total)(pred)
    pred.requires_grad_()
    (expected,) = torch.autograd.grad(total(pred), pred)
    torch.testing.assert_close(slope, expected)


def _itself(module: FeatureNetwork) -> FeatureNetwork:
    return module


def test_a_trunk_at_an_address_used_before_is_not_the_one_before() -> None:
    pred = image()
    with losskit.shared_features():
        for number in range(30):  # trunks come and go; their addresses are used again
            loss = ChainLoss("a", weights=f"number {number}")
            with torch.no_grad():
                loss.backbone.network.stages[0][0].weight.fill_(number)
            torch.testing.assert_close(
                loss.backbone.features(pred)["a"], alone(loss, pred), rtol=0, atol=0
            )
            del loss


def alone(loss: ChainLoss, pred: Tensor) -> Tensor:
    return loss.backbone.network(NORM(pred), ("a",))[0]


def test_the_callers_defaults_do_not_reach_a_network_that_others_share() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            loss = ChainLoss("a", weights="defaults")
    finally:
        torch.set_default_dtype(torch.float32)
    weight = loss.backbone.network.stages[0][0].weight
    assert (weight.dtype, weight.device.type) == (torch.float32, "cpu")
    assert loss.backbone.features(image())["a"].isfinite().all()


def test_averaged_and_distributed_models_do_not_see_it(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Conv2d(3, 3, 1)
            self.loss = ChainLoss("c", weights="wrapped")

        def forward(self, x: Tensor, target: Tensor) -> Tensor:
            return self.loss(self.network(x), target)

    model = Model()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    assert averaged.module.loss.backbone.trunk is model.loss.backbone.trunk
    assert set(averaged.module.state_dict()) == {"network.weight", "network.bias"}
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        wrapped(image(), image()).backward()
        names = [name for name, _ in wrapped.named_parameters()]
    finally:
        dist.destroy_process_group()
    assert names == ["module.network.weight", "module.network.bias"]
    assert model.network.weight.grad.abs().sum() > 0


def test_a_handle_says_what_it_is() -> None:
    assert repr(ChainLoss("a").backbone) == "Backbone(build_chain('one'), layers=('a',))"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ChainLoss("d"), r"Chain has no layer 'd'.*it has a, b, c"),
        (ChainLoss, "layers must name at least one layer"),
        (lambda: ChainLoss("a", precision="fp8"), "precision must be None, 'bf16' or 'fp16'"),
        (lambda: ChainLoss("a", weights=["one"]), r"arguments tell networks apart: \['one'\] must"),
        (
            lambda: shared_backbone(nn.Flatten, layers="x"),
            "Flatten must return a FeatureNetwork, not Flatten; wrap",
        ),
        (lambda: backbone_recipe("nowhere/net"), "'nowhere/net' is of no known family"),
    ],
)
def test_wrong_requests_are_told(call: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(
    ("value", "message"), [(torch.ones(1, 3, 8, 8, dtype=torch.uint8), "uint8"), ("x", "str")]
)
def test_an_image_must_be_floating_point(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=f"floating point tensor, not .*{message}"):
        ChainLoss("a").backbone.features(value)


def test_input_norm_is_its_formula() -> None:
    pred = image(dtype=torch.float64) * 255
    mean = torch.tensor(InputNorm.IMAGENET_MEAN, dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor(InputNorm.IMAGENET_STD, dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(InputNorm.imagenet(0.0, 255.0)(pred), (pred / 255 - mean) / std)
    assert InputNorm()(pred) is pred


def test_a_family_is_asked_through_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    import losskit.discovery.registry

    spec = losskit.BackboneSpec("mine", f"{__name__}:family")
    monkeypatch.setattr(losskit.discovery.registry, "list_backbones", lambda: [spec])
    monkeypatch.setattr("losskit.backbones.families.resolve_target", lambda target: _family)
    recipe = backbone_recipe("mine/net", "w")
    backbone = Backbone(recipe.build, recipe.args, ("a",), ChainLoss("a").backbone.mode)
    assert backbone.args == ("net-w",)
    monkeypatch.setattr("losskit.backbones.families.resolve_target", lambda t: lambda *a: None)
    with pytest.raises(ValueError, match="'mine' must answer with a BackboneRecipe, not NoneType"):
        backbone_recipe("mine/net")


def _family(name: str, weights: str) -> BackboneRecipe:
    return BackboneRecipe(build_chain, (f"{name}-{weights}",))
