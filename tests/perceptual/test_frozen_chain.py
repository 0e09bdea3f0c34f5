"""The chain differentiated by hand gives what torch's own layers and autograd give."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from losskit_perceptual.networks import frozen_chain
from losskit_perceptual.networks.frozen_chain import FrozenChain
from losskit_perceptual.networks.vgg import VggNetwork


@pytest.fixture(autouse=True, params=["whole", "in pieces"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large layers are run a few samples at a time: here all are, or none is."""
    monkeypatch.setattr(frozen_chain, "_PIECE", 1 << 40 if request.param == "whole" else 1)


def chain_of(
    *layers: nn.Module, dtype: torch.dtype = torch.float64
) -> tuple[nn.Sequential, FrozenChain]:
    plain = nn.Sequential(*layers).eval().requires_grad_(False).to(dtype)
    assert FrozenChain.fits(plain)
    return plain, FrozenChain(plain)


def small(*, norm: bool = False) -> list[nn.Module]:
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, padding=1),
    ]
    if norm:
        layers.append(nn.BatchNorm2d(5))
        layers[-1].running_mean.normal_()
        layers[-1].running_var.uniform_(0.5, 2)
        nn.init.uniform_(layers[-1].weight)
    return [*layers, nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()]


def plainly(layers: nn.Sequential, image: Tensor, wanted: tuple[int, ...]) -> list[Tensor]:
    found, x = [], image
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in wanted:
            found.append(x)
    return found


def total(features: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    # Different everywhere, so that no place can stand in for another.
    weights = [torch.linspace(-1, 1, f.numel(), dtype=f.dtype).view(f.shape) for f in features]
    return sum(
        ((f * w).sin().sum() for f, w in zip(features, weights, strict=True)), torch.zeros(())
    )


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("wanted", [(6,), (2, 6), (0, 1, 2, 3, 4, 5, 6), (1, 4), (3,)])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
def test_values_and_gradients_are_those_of_torchs_layers(
    norm: bool, wanted: tuple[int, ...], size: tuple[int, int]
) -> None:
    plain, chain = chain_of(*small(norm=norm))
    image = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    assert chain.takes(image)
    ours, theirs = chain(image, wanted), plainly(plain, image, wanted)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    (got,) = torch.autograd.grad(total(ours), image)
    (want,) = torch.autograd.grad(total(theirs), image)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_a_whole_vgg_in_float32() -> None:
    network = VggNetwork("vgg16_bn").eval().requires_grad_(False)
    wanted = (2, 13, 24, 43)
    image = torch.rand(1, 3, 48, 64, requires_grad=True)
    ours = network(image, tuple(map(str, wanted)))
    theirs = plainly(copy.deepcopy(network.features), image, wanted)
    (got,) = torch.autograd.grad(total(ours), image)
    (want,) = torch.autograd.grad(total(theirs), image)
    torch.testing.assert_close(ours[-1], theirs[-1], rtol=1e-4, atol=1e-4)
    assert (got - want).norm() < 1e-4 * want.norm()


@pytest.mark.parametrize("wanted", [(1,), (6,), (1, 2, 6), (4, 5)])
def test_pieces_need_not_be_equal_nor_hold_every_layer(
    monkeypatch: pytest.MonkeyPatch, wanted: tuple[int, ...]
) -> None:
    plain, chain = chain_of(*small())
    image = torch.randn(5, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    widest = 5 * 8 * 8 * 8  # bytes of a sample in the layers with 5 channels
    monkeypatch.setattr(frozen_chain, "_PIECE", 2 * widest)
    shapes: list[int] = []
    run = chain.steps[0].forward
    monkeypatch.setattr(
        chain.steps[0], "forward", lambda x, **how: shapes.append(len(x)) or run(x, **how)
    )
    ours, theirs = chain(image, wanted), plainly(plain, image, wanted)
    assert shapes == [2, 2, 1]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    (got,) = torch.autograd.grad(total(ours), image)
    (want,) = torch.autograd.grad(total(theirs), image)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("through", ["one", "two"])
def test_of_equal_pixels_the_first_gets_the_gradient(through: str) -> None:
    plain, chain = chain_of(nn.MaxPool2d(2, 2))
    if through == "two":  # then the gradient that arrives is the chain's own, and written in place
        plain, chain = chain_of(nn.MaxPool2d(2, 2), nn.MaxPool2d(2, 2))
    image = torch.randint(0, 3, (2, 5, 11, 13)).double().requires_grad_()
    last = (len(plain) - 1,)
    (got,) = torch.autograd.grad(total(chain(image, last)), image)
    (want,) = torch.autograd.grad(total(plainly(plain, image, last)), image)
    assert torch.equal(got, want)


def test_it_can_be_differentiated_twice() -> None:
    plain, chain = chain_of(*small(norm=True))
    image = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    seconds = []
    for features in (chain(image, (2, 7)), plainly(plain, image, (2, 7))):
        (slope,) = torch.autograd.grad(total(features), image, create_graph=True)
        seconds.append(torch.autograd.grad(slope.square().sum(), image)[0])
    torch.testing.assert_close(*seconds, rtol=0, atol=1e-11)


def test_what_others_hold_is_not_written_over() -> None:
    _, chain = chain_of(*small())
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    features = chain(image, (0, 2, 6))
    before = [f.detach().clone() for f in features]
    arriving = [torch.randn_like(f) for f in features]
    copies = [g.clone() for g in arriving]
    torch.autograd.backward(features, arriving)
    assert all(map(torch.equal, features, before))
    assert all(map(torch.equal, arriving, copies))


def test_outputs_nobody_uses_cost_nothing_and_change_nothing() -> None:
    plain, chain = chain_of(*small())
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(total(chain(image, (1, 3, 6))[:1]), image)
    (want,) = torch.autograd.grad(total(plainly(plain, image, (1,))), image)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_a_weight_written_to_is_noticed() -> None:
    plain, chain = chain_of(nn.Conv2d(3, 4, 3, padding=1))
    image = torch.randn(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    for factor in (1, -2):
        with torch.no_grad():
            plain[0].weight.mul_(factor)
        (got,) = torch.autograd.grad(total(chain(image, (0,))), image)
        (want,) = torch.autograd.grad(total(plainly(plain, image, (0,))), image)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_a_byte_an_element_is_kept() -> None:
    _, chain = chain_of(*small(), dtype=torch.float32)
    image = torch.randn(2, 3, 32, 32, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        chain(image, (6,))
    # Two ReLUs at full size, a pooling and a ReLU at a quarter.
    assert sum(kept.values()) == 2 * 32 * 32 * (4 + 5) + 2 * 16 * 16 * (5 + 6)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1, stride=2),
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 3, 3, padding=1, groups=3),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.MaxPool2d(2, 2, return_indices=True),
        nn.BatchNorm2d(3, affine=False),
        nn.GELU(),
    ],
)
def test_other_layers_are_left_to_torch(layer: nn.Module) -> None:
    assert not FrozenChain.fits([nn.ReLU(), layer])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, of its own
def test_other_ways_of_differentiating_are_left_to_torch() -> None:
    network = VggNetwork("vgg11").eval().requires_grad_(False).double()
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def value(image: Tensor) -> Tensor:
        return total(network(image, ("1", "3")))

    (want,) = torch.autograd.grad(value(image), image)
    torch.testing.assert_close(torch.func.grad(value)(image.detach()), want)
    direction = torch.randn_like(image)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(image.detach(), direction)
        slope = torch.autograd.forward_ad.unpack_dual(value(dual)).tangent
    torch.testing.assert_close(slope, (want * direction).sum())


def test_weights_that_take_gradients_get_them() -> None:
    network = VggNetwork("vgg11").eval()
    total(network(torch.rand(1, 3, 16, 16), ("3",))).backward()
    assert network.features[0].weight.grad.abs().sum() > 0


def test_the_compile_option_leaves_the_chain_to_itself_on_the_cpu() -> None:
    network = VggNetwork("vgg11")
    assert not network.gains_from_compile("cpu")
    assert network.gains_from_compile("cuda")


def test_gradients_in_an_autocast_block_are_in_the_networks_own_precision() -> None:
    network = VggNetwork("vgg11").eval().requires_grad_(False)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    value = total(network(image, ("3", "6")))
    (want,) = torch.autograd.grad(value, image, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        (got,) = torch.autograd.grad(value, image)
    assert torch.equal(got, want)


def test_a_batch_of_gradients_at_once() -> None:
    _, chain = chain_of(*small())
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    (feature,) = chain(image, (6,))
    several = torch.randn(3, *feature.shape, dtype=torch.float64)
    one_by_one = [torch.autograd.grad(feature, image, g, retain_graph=True)[0] for g in several]
    (batched,) = torch.autograd.grad(feature, image, several, is_grads_batched=True)
    torch.testing.assert_close(batched, torch.stack(one_by_one))


def test_an_image_too_small_is_an_error_as_in_torch() -> None:
    _, chain = chain_of(*small())
    with pytest.raises(RuntimeError, match="Output size is too small"):
        chain(torch.rand(1, 3, 1, 1, dtype=torch.float64), (4,))
    (feature,) = chain(torch.rand(1, 3, 1, 1, dtype=torch.float64), (3,))
    assert feature.shape == (1, 5, 1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_as_torchs_layers_do(dtype: torch.dtype) -> None:
    plain, chain = chain_of(*small(), dtype=dtype)
    image = torch.randn(0, 3, 8, 8, dtype=dtype), torch.randn(1, 3, 9, 8, dtype=dtype)
    for batch in image:
        batch.requires_grad_()
        (got,) = torch.autograd.grad(chain(batch, (6,))[0].float().sum(), batch)
        (want,) = torch.autograd.grad(plainly(plain, batch, (6,))[0].float().sum(), batch)
        torch.testing.assert_close(got, want, rtol=0.1, atol=0.1)


def test_threads_share_a_chain() -> None:
    network = VggNetwork("vgg11").eval().requires_grad_(False).double()
    images = [torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True) for _ in range(4)]

    def gradient(image: Tensor) -> Tensor:
        return torch.autograd.grad(total(network(image, ("1", "6"))), image)[0]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(gradient, images * 5))
    for got, image in zip(together, images * 5, strict=True):
        torch.testing.assert_close(got, gradient(image))


def test_layers_that_are_watched_are_run_as_modules() -> None:
    layers = small()
    layers[1].register_forward_hook(lambda *_: None)
    assert not FrozenChain.fits(layers)


def test_a_tracers_stand_in_for_the_kernel_is_not_kept() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    _, chain = chain_of(nn.Conv2d(3, 4, 3, padding=1))
    with FakeTensorMode(allow_non_fake_inputs=True):
        imagined = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
        chain(imagined, (0,))[0].sum().backward()
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    chain(image, (0,))[0].sum().backward()
    assert type(image.grad) is Tensor
