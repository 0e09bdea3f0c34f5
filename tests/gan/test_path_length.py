"""Path length in closed form on linear generators, and against a plain reference."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from losskit_gan.penalties.path_length import GeneratorPathRegularizer, path_lengths


class LinearGenerator(nn.Module):
    """Latents (b, layers, d) to images (b, 1, h, w) by one matrix, so that J is known."""

    def __init__(self, layers=2, dim=3, size=(4, 5)):
        super().__init__()
        self.size = size
        shape = (layers, dim, size[0] * size[1])
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.float64))

    def forward(self, noise, num_batches=0, return_latents=False):
        assert noise is None
        assert return_latents
        latent = torch.randn(num_batches, *self.weight.shape[:2], dtype=torch.float64)
        latent.requires_grad_()
        images = torch.einsum("bld,ldp->bp", latent, self.weight)
        return {"fake_img": images.view(num_batches, 1, *self.size), "latent": latent}


def _by_hand(weight, noise):
    """sqrt(mean over layers of sum over channels of (J^T y)^2), with y the scaled noise."""
    y = noise.flatten(1) / noise[0, 0].numel() ** 0.5
    return torch.einsum("ldp,bp->bld", weight, y).square().sum(2).mean(1).sqrt()


def test_lengths_of_a_linear_generator():
    generator, noise = LinearGenerator(), torch.randn(3, 1, 4, 5, dtype=torch.float64)
    made = generator(None, 3, return_latents=True)
    lengths = path_lengths(made["fake_img"], made["latent"], noise=noise)
    torch.testing.assert_close(lengths, _by_hand(generator.weight, noise))


def test_latents_without_layers():
    latents = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    images = (latents * torch.arange(1, 5)).view(2, 1, 2, 2)
    lengths = path_lengths(images, latents, noise=torch.ones(2, 1, 2, 2))
    torch.testing.assert_close(lengths, torch.full((2,), (30 / 4) ** 0.5, dtype=torch.float64))


def test_penalty_average_and_gradient_equal_the_plain_formula():
    generator, noise = LinearGenerator(), torch.randn(4, 1, 4, 5, dtype=torch.float64)
    loss = GeneratorPathRegularizer(decay=0.3).double()
    loss.mean_path_length.fill_(0.7)
    value = loss(generator, 4, noise=noise)
    (gradient,) = torch.autograd.grad(value, generator.weight)

    # The gradient goes through the average, as MMagic's does.
    lengths = _by_hand(generator.weight, noise)
    average = 0.7 + 0.3 * (lengths.mean() - 0.7)
    expected = (lengths - average).square().mean()
    (expected_gradient,) = torch.autograd.grad(expected, generator.weight)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    torch.testing.assert_close(loss.mean_path_length, average.detach())


def test_given_images_equal_generated_ones():
    generator, noise = LinearGenerator(), torch.randn(3, 1, 4, 5, dtype=torch.float64)
    torch.manual_seed(0)
    expected = GeneratorPathRegularizer()(generator, 3, noise=noise)
    torch.manual_seed(0)
    made = generator(None, 3, return_latents=True)
    value = GeneratorPathRegularizer()(
        fake_imgs=made["fake_img"], latents=made["latent"], noise=noise
    )
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("options", "batch", "expected"),
    [
        ({}, 6, 6),
        ({"pl_batch_shrink": 4}, 6, 1),
        ({"pl_batch_shrink": 2}, 6, 3),
        ({"pl_batch_size": 5}, 6, 5),
    ],
)
def test_number_of_images(options, batch, expected):
    loss = GeneratorPathRegularizer(reduction="none", **options)
    assert loss(LinearGenerator(), batch).shape == (expected,)


def test_state_is_a_buffer_and_moves_in_training_only():
    loss, generator = GeneratorPathRegularizer(), LinearGenerator()
    loss(generator, 4)
    mean = loss.mean_path_length.clone()
    assert mean > 0
    loss.eval()(generator, 4)
    assert loss.mean_path_length == mean
    for other in (
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),
        GeneratorPathRegularizer(),
    ):
        other.load_state_dict(loss.state_dict())
        assert other.mean_path_length == mean


def test_gradcheck():
    noise = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    latents = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def penalty(weight):
        images = (latents @ weight).sin().view(2, 1, 2, 2)
        loss = GeneratorPathRegularizer(decay=0.4)
        return loss(fake_imgs=images, latents=latents, noise=noise)

    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)
    assert torch.autograd.gradgradcheck(penalty, weight)


def test_flat_generator_has_finite_gradients():
    generator = LinearGenerator()
    nn.init.zeros_(generator.weight)
    GeneratorPathRegularizer()(generator, 2).backward()
    assert torch.isfinite(generator.weight.grad).all()


def test_evaluates_without_gradients_and_under_autocast():
    generator = LinearGenerator()
    noise = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    expected = GeneratorPathRegularizer()(generator, 3, noise=noise)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        value = GeneratorPathRegularizer()(generator, 3, noise=noise)
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach())


def test_compiled_generator_is_gone_round():
    generator = LinearGenerator()
    compiled = torch.compile(copy.deepcopy(generator), backend="aot_eager")
    noise = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    values = [GeneratorPathRegularizer()(g, 3, noise=noise) for g in (generator, compiled)]
    values[1].backward()
    torch.testing.assert_close(*values)


_IMAGES = torch.ones(2, 1, 2, 2, requires_grad=True)
_LATENTS = torch.ones(2, 4, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: GeneratorPathRegularizer(pl_batch_shrink=0),
            ValueError,
            "pl_batch_shrink must be a whole number of at least 1, not 0",
        ),
        (
            lambda: GeneratorPathRegularizer(pl_batch_size=0),
            ValueError,
            "pl_batch_size must be a whole number of at least 1, not 0",
        ),
        (
            lambda: GeneratorPathRegularizer(decay=0.0),
            ValueError,
            "decay must be above 0 and at most 1, not 0.0",
        ),
        (lambda: GeneratorPathRegularizer(reduction="avg"), ValueError, "reduction must be one of"),
        (
            GeneratorPathRegularizer(),
            ValueError,
            "give either generator and num_batches, or fake_imgs",
        ),
        (
            lambda: GeneratorPathRegularizer()(lambda *_, **__: 1, 2),
            ValueError,
            "must return a mapping with 'fake_img' and 'latent', not int",
        ),
        (
            lambda: path_lengths(None, _LATENTS),
            TypeError,
            "fake_imgs must be a tensor, not NoneType",
        ),
        (
            lambda: path_lengths(_IMAGES[:1], _LATENTS),
            ValueError,
            r"not \(1, 1, 2, 2\) and \(2, 4\)",
        ),
        (
            lambda: path_lengths(_IMAGES, _LATENTS.detach()),
            ValueError,
            "fake_imgs do not depend on latents: generate them with",
        ),
        (
            lambda: path_lengths(_IMAGES * 1, _LATENTS),
            ValueError,
            "fake_imgs do not depend on latents: pass the latents",
        ),
        (
            lambda: path_lengths(_IMAGES, _LATENTS, noise=torch.ones(1)),
            ValueError,
            "noise must have the images' shape",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
