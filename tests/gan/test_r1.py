"""R1 and R2 in closed form on discriminators whose slope is known, and under wrappers and AMP."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from losskit_gan.penalties.r1 import R1GradientPenalty, R2GradientPenalty, r1_penalty, r2_penalty

SHAPE = (3, 2, 4, 5)


def _real(dtype=torch.float64):
    return torch.randn(SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 3, padding=1)
    )


@pytest.mark.parametrize("penalty", [r1_penalty, r2_penalty])
def test_linear_discriminator(penalty):
    weights = _real()[0]  # D(x) = <w, x>: the slope is w everywhere
    value = penalty(lambda x: (x * weights).flatten(1).sum(1), _real(), norm_mode="HWC")
    torch.testing.assert_close(value, weights.square().sum())
    value = penalty(lambda x: (x * weights).flatten(1).sum(1), _real(), norm_mode="pixel")
    torch.testing.assert_close(value, weights.square().sum() / 20)


def test_quadratic_discriminator_and_reductions():
    real = _real()  # D(x) = |x|²: the slope is 2x
    squares = 4 * real.square().sum((1, 2, 3))

    def penalty(reduction):
        return r1_penalty(
            lambda x: x.square().sum((1, 2, 3)), real, norm_mode="HWC", reduction=reduction
        )

    torch.testing.assert_close(penalty("none"), squares)
    torch.testing.assert_close(penalty("sum"), squares.sum())
    torch.testing.assert_close(penalty("mean"), squares.mean())


def test_mask_selects_and_normalises():
    real, mask = _real(), torch.zeros(3, 1, 4, 5, dtype=torch.float64)
    mask[:, :, :2] = 1
    inside = 4 * real[:, :, :2].square().sum(1)
    value = R1GradientPenalty()(lambda x: x.square(), real, mask)
    torch.testing.assert_close(value, inside.sum() / (3 * 20) / 0.5)
    assert R1GradientPenalty()(lambda x: x.square(), real, mask * 0) == 0
    whole = R1GradientPenalty(norm_mode="HWC")(lambda x: x.square(), real, mask)
    torch.testing.assert_close(whole, inside.sum() / 3 / 0.5)


def test_gradient_of_a_linear_layer_by_hand():
    layer = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    r1_penalty(layer, torch.randn(5, 4, dtype=torch.float64), norm_mode="HWC").backward()
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach())


@pytest.mark.parametrize("norm_mode", ["pixel", "HWC"])
def test_gradcheck_and_gradgradcheck(norm_mode):
    real = _real()[:, :, :2, :2]

    def penalty(weight):
        return r1_penalty(lambda x: (x * weight).sigmoid(), real, norm_mode=norm_mode)

    weight = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)
    assert torch.autograd.gradgradcheck(penalty, weight)


def test_multi_scale_and_feature_lists_sum_their_logits():
    real = _real()
    twice = r1_penalty(lambda x: [x.sum((1, 2, 3)), x.sum((1, 2, 3))], real)
    torch.testing.assert_close(twice, r1_penalty(lambda x: 2 * x.sum((1, 2, 3)), real))
    features = r1_penalty(lambda x: [[x * 1e3, x.sum((1, 2, 3))]] * 2, real)
    torch.testing.assert_close(features, twice)


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_discriminator_gives_the_eager_value(in_place):
    eager, real = _network(), _real(torch.float32)
    compiled = copy.deepcopy(eager)
    if in_place:
        compiled.compile(backend="aot_eager")
        handed = compiled
    else:
        handed = torch.compile(compiled, backend="aot_eager")
    handed(real)  # so that a compiled graph is there to be gone round
    for network, penalised in ((eager, eager), (compiled, handed)):
        r1_penalty(penalised, real).backward()
        assert network[0].weight.grad is not None
    torch.testing.assert_close(r1_penalty(handed, real), r1_penalty(eager, real))
    torch.testing.assert_close(compiled[0].weight.grad, eager[0].weight.grad)


def test_compiled_inner_block_is_gone_round():
    real, block = _real(torch.float32), _network()
    outer = nn.Sequential(torch.compile(copy.deepcopy(block), backend="aot_eager"), nn.Tanh())
    expected = r1_penalty(nn.Sequential(block, nn.Tanh()), real)
    torch.testing.assert_close(r1_penalty(outer, real), expected)
    r1_penalty(outer, real).backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_off_inside(dtype):
    network, real = _network(), _real(torch.float32)
    expected = r1_penalty(network, real)
    with torch.autocast("cpu", dtype=dtype):
        value = r1_penalty(network, real)
        from_half = r1_penalty(network, real.to(dtype))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(from_half, r1_penalty(network, real.to(dtype).float()))


def test_half_precision_network_gives_a_float32_value():
    network = _network().bfloat16()
    value = r1_penalty(network, _real(torch.float32))
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(network[0].weight.grad).all()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_evaluates_without_gradients(context):
    network, real = _network(), _real(torch.float32)
    expected = r1_penalty(network, real)
    with context():
        value = r1_penalty(network, real)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach())


def test_no_gradient_reaches_the_images():
    real = _real(torch.float32).requires_grad_()
    R1GradientPenalty()(_network(), real).backward()
    assert real.grad is None


def test_in_place_activation_first_is_fine():
    network = nn.Sequential(nn.LeakyReLU(0.5, inplace=True), nn.Flatten(), nn.Linear(40, 1))
    real = _real(torch.float32)
    before = real.clone()
    R1GradientPenalty()(network, real).backward()
    torch.testing.assert_close(real, before)


def test_modules_equal_functions_and_copy():
    network, real = _network(), _real(torch.float32)
    for module, function in (
        (R1GradientPenalty(norm_mode="HWC"), r1_penalty),
        (R2GradientPenalty(norm_mode="HWC"), r2_penalty),
    ):
        expected = function(network, real, norm_mode="HWC")
        torch.testing.assert_close(module(network, real), expected)
        torch.testing.assert_close(pickle.loads(pickle.dumps(module))(network, real), expected)
        torch.testing.assert_close(copy.deepcopy(module)(network, real), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: R1GradientPenalty(norm_mode="HCW"),
            ValueError,
            "norm_mode must be one of pixel, HWC, not 'HCW'; did you mean 'HWC'",
        ),
        (lambda: R1GradientPenalty(reduction="avg"), ValueError, "reduction must be one of"),
        (
            lambda: r1_penalty("net", _real()),
            TypeError,
            "discriminator must be a network or a function, not str",
        ),
        (
            lambda: r1_penalty(nn.Tanh(), None),
            TypeError,
            "real_data must be a tensor, not NoneType",
        ),
        (
            lambda: r2_penalty(nn.Tanh(), None),
            TypeError,
            "fake_data must be a tensor, not NoneType",
        ),
        (
            lambda: r1_penalty(nn.Tanh(), _real().long()),
            TypeError,
            "real_data must be floating-point, not torch.int64",
        ),
        (
            lambda: r1_penalty(nn.Tanh(), torch.ones(3)),
            ValueError,
            r"real_data must have shape \(b, c, ...\), not \(3,\)",
        ),
        (
            lambda: r1_penalty(lambda x: x.detach(), _real()),
            ValueError,
            "does not depend on its input",
        ),
        (
            lambda: r1_penalty(lambda x: torch.ones(2, requires_grad=True), _real()),
            ValueError,
            "does not depend on its input",
        ),
        (
            lambda: r1_penalty(nn.Tanh(), _real(), mask=1),
            TypeError,
            "mask must be a tensor or None, not int",
        ),
        (
            lambda: r1_penalty(nn.Tanh(), _real(), mask=torch.ones(3, 1, 2, 2)),
            ValueError,
            r"mask of shape \(3, 1, 2, 2\) does not fit images of shape \(3, 2, 4, 5\)",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
