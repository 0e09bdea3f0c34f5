"""Feature matching by hand and against torch's criteria."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losskit_gan.adversarial.feature_matching import FeatureMatchingLoss, feature_matching_loss


def _features(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = (2, 3, 8, 8), (2, 5, 4, 4)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize(("criterion", "function"), [("l1", F.l1_loss), ("mse", F.mse_loss)])
def test_averages_layers_and_scales(criterion, function):
    fake, real = _features(0), _features(1)
    expected = sum(function(f, r) for f, r in zip(fake, real, strict=True)) / 2
    loss = FeatureMatchingLoss(criterion=criterion)
    torch.testing.assert_close(loss(fake, real), expected)
    both = loss([fake, fake[:1]], [real, real[:1]])
    torch.testing.assert_close(both, (expected + function(fake[0], real[0])) / 2)


def test_skip_last():
    fake, real = _features(0), _features(1)
    value = FeatureMatchingLoss(skip_last=True)(fake, real)
    torch.testing.assert_close(value, F.l1_loss(fake[0], real[0]))


def test_mask_keeps_features_outside_the_hole():
    fake, real = _features(0), _features(1)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    mask[..., :4] = 1
    value = feature_matching_loss(fake[:1], real[:1], mask=mask)
    torch.testing.assert_close(value, F.l1_loss(fake[0][..., 4:], real[0][..., 4:]))
    small = (fake[1] - real[1]).abs()[..., 2:].mean()
    torch.testing.assert_close(feature_matching_loss(fake[1:], real[1:], mask=mask), small)
    assert feature_matching_loss(fake, real, mask=torch.ones_like(mask)) == 0


def test_gradient_reaches_the_generator_alone():
    fake = [f.requires_grad_() for f in _features(0)]
    real = [r.requires_grad_() for r in _features(1)]
    feature_matching_loss(fake, real).backward()
    assert all(f.grad is not None for f in fake)
    assert all(r.grad is None for r in real)
    assert torch.autograd.gradcheck(
        lambda f: feature_matching_loss([f], real[:1], criterion="mse"), fake[0]
    )


def test_half_precision_features_are_compared_in_float32():
    fake, real = ([f.bfloat16() for f in _features(seed, torch.float32)] for seed in (0, 1))
    expected = feature_matching_loss([f.float() for f in fake], [r.float() for r in real])
    torch.testing.assert_close(feature_matching_loss(fake, real), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: feature_matching_loss(
                [[torch.ones(2, 1)], torch.ones(2, 1)], [torch.ones(2, 1)]
            ),
            TypeError,
            "fake_features must hold either tensors or one list per scale",
        ),
        (
            lambda: feature_matching_loss(
                [torch.ones(1, 1, 2, 2)], [torch.ones(1, 1, 2, 2)], mask="a"
            ),
            TypeError,
            "mask must be a tensor or None, not str",
        ),
        (
            lambda: FeatureMatchingLoss(criterion="l2"),
            ValueError,
            "criterion must be one of l1, mse, not 'l2'",
        ),
        (
            lambda: feature_matching_loss(torch.ones(2), _features(0)),
            TypeError,
            "fake_features must be a list of tensors",
        ),
        (
            lambda: feature_matching_loss([[1]], _features(0)),
            TypeError,
            "fake_features must hold tensors, not int",
        ),
        (
            lambda: feature_matching_loss(_features(0)[:1], _features(0)),
            ValueError,
            r"same layers, not \[1\] and \[2\]",
        ),
        (
            lambda: feature_matching_loss(_features(0)[::-1], _features(0)),
            ValueError,
            "features must have one shape",
        ),
        (
            lambda: feature_matching_loss([_features(0)[:1]], [_features(0)[:1]], skip_last=True),
            ValueError,
            "skip_last leaves no features",
        ),
        (
            lambda: feature_matching_loss(_features(0), _features(0), mask=torch.ones(2, 2)),
            ValueError,
            r"mask must be \(b, 1, h, w\), not \(2, 2\)",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
