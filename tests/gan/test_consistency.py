"""CR and bCR: what the augmentation may do, and the distance by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from losskit_gan.penalties.consistency import (
    BalancedConsistencyLoss,
    ConsistencyLoss,
    consistency_loss,
    flip_and_shift,
)


def _images():
    return torch.rand(8, 2, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_each_image_is_one_of_the_possible_ones():
    images, moved = _images(), flip_and_shift(_images(), shift=1)
    kinds = set()
    for before, after in zip(images, moved, strict=True):
        found = []
        for flipped in (False, True):
            source = before.flip(-1) if flipped else before
            padded = nn.functional.pad(source[None], (1,) * 4, mode="reflect")[0]
            for row in range(3):
                for column in range(3):
                    if torch.equal(after, padded[:, row : row + 6, column : column + 7]):
                        found.append((flipped, row, column))
        assert len(found) == 1
        kinds.update(found)
    assert len(kinds) > 3  # images are moved one by one


def test_without_shift_and_flip_nothing_moves():
    torch.testing.assert_close(flip_and_shift(_images(), shift=0, flip=False), _images())


def test_distance_by_hand():
    value = consistency_loss(lambda x: x.mean((1, 2, 3)), _images(), augment=lambda x: x + 0.5)
    assert value.item() == pytest.approx(0.25)


@pytest.mark.parametrize("balanced", [False, True])
def test_gradcheck_and_gradgradcheck(balanced):
    images = _images()[:2, :, :4, :4]

    def loss(weight):
        torch.manual_seed(0)
        arguments = (lambda x: (x * weight).sigmoid(), images)
        if balanced:
            return BalancedConsistencyLoss(shift=1)(*arguments, images.flip(0))
        return ConsistencyLoss(shift=1)(*arguments)

    weight = torch.rand(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, weight)
    assert torch.autograd.gradgradcheck(loss, weight)


def test_of_a_linear_discriminator_by_hand():
    # D(x) = <w, x>: what T changes is <w, T(x) - x>.
    images, weight = _images(), _images()[0]
    value = consistency_loss(
        lambda x: (x * weight).sum((1, 2, 3)), images, augment=lambda x: x.flip(-1)
    )
    expected = ((images.flip(-1) - images) * weight).sum((1, 2, 3)).square().mean()
    torch.testing.assert_close(value, expected)


def test_zero_for_a_discriminator_that_does_not_see_the_change():
    loss = ConsistencyLoss(shift=0)
    assert loss(lambda x: x.mean((1, 2, 3)), _images()).item() == pytest.approx(0, abs=1e-20)
    assert loss(lambda x: x[..., 0].mean((1, 2)), _images()) > 0


def test_known_logits_save_a_pass():
    calls = []

    def discriminator(x):
        calls.append(1)
        return x.mean((1, 2, 3))

    ConsistencyLoss()(discriminator, _images(), discriminator(_images()))
    assert len(calls) == 2


def test_balanced_has_a_part_for_each():
    loss = BalancedConsistencyLoss(shift=0, flip=False, real_weight=2.0, fake_weight=3.0)
    network, images = nn.Conv2d(2, 1, 3, dtype=torch.float64), _images().requires_grad_()
    logits = network(images).detach() + 1
    parts = loss.components(network, images, images, logits, logits + 1)
    assert parts["real"].item() == pytest.approx(2)
    assert parts["fake"].item() == pytest.approx(3 * 4)
    loss(network, images, images).backward()
    assert images.grad is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ConsistencyLoss(shift=-1),
            ValueError,
            "shift must be a whole number of at least 0",
        ),
        (lambda: ConsistencyLoss(shift=1.5), ValueError, "shift must be a whole number .* not 1.5"),
        (lambda: flip_and_shift(_images(), shift=6), ValueError, "below the image's size, not 6"),
        (
            lambda: ConsistencyLoss()(nn.Tanh(), torch.zeros(2, 3, 4, 8, 8)),
            ValueError,
            r"images must have shape \(b, c, h, w\), not \(2, 3, 4, 8, 8\)",
        ),
        (
            lambda: BalancedConsistencyLoss()(nn.Tanh(), _images(), torch.zeros(2, 3)),
            ValueError,
            r"images must have shape \(b, c, h, w\), not \(2, 3\)",
        ),
        (lambda: consistency_loss(nn.Tanh(), None), TypeError, "images must be a tensor"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
