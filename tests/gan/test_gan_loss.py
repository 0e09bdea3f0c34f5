"""GANLoss against monai's adversarial loss, kornia's blur, torch's criteria and by hand."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from losskit_gan.adversarial.gan_loss import GAN_TYPES, GANLoss, gan_loss

LOGITS = torch.tensor([[2.0, -1.0], [0.5, -3.0]], dtype=torch.float64)
# By hand, for LOGITS: real/fake x discriminator/generator.
BY_HAND = {
    ("wgan", True, True): 0.375,
    ("wgan", False, True): -0.375,
    ("lsgan", True, False): (1 + 4 + 0.25 + 16) / 4,
    ("lsgan", False, True): (4 + 1 + 0.25 + 9) / 4,
    ("l1", True, False): (1 + 2 + 0.5 + 4) / 4,
    ("l1", False, True): 6.5 / 4,
    ("hinge", True, True): (0 + 2 + 0.5 + 4) / 4,
    ("hinge", False, True): (3 + 0 + 1.5 + 0) / 4,
    ("hinge", True, False): 0.375,
    ("hinge", False, False): 0.375,  # the generator's hinge knows no label
}


@pytest.mark.parametrize(("gan_type", "real", "is_disc"), BY_HAND)
def test_equals_hand_computed(gan_type, real, is_disc):
    value = GANLoss(gan_type)(LOGITS, real, is_disc=is_disc)
    assert value.item() == pytest.approx(BY_HAND[gan_type, real, is_disc], abs=1e-12)


@pytest.mark.parametrize("real", [True, False])
def test_logistic_and_vanilla_equal_the_definition(real):
    sign = -1 if real else 1
    expected = sum(math.log1p(math.exp(sign * x)) for x in LOGITS.flatten().tolist()) / 4
    for gan_type in ("vanilla", "wgan-logistic-ns"):
        assert GANLoss(gan_type)(LOGITS, real).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "hinge"])
def test_discriminator_equals_monai(gan_type, scales, real):
    monai = pytest.importorskip("monai.losses")
    criterion = {"vanilla": "bce", "lsgan": "least_squares", "hinge": "hinge"}[gan_type]
    theirs = monai.PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    logits = [torch.rand(3, 1, 4 + i, 4) * 1.8 - 0.9 for i in range(scales)]
    # monai puts a tanh before its hinge, which atanh takes back.
    given = [x.atanh() for x in logits] if gan_type == "hinge" else list(logits)
    ours = GANLoss(gan_type)(logits, real, is_disc=True)
    torch.testing.assert_close(ours, theirs(given, real, True), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize(
    ("gan_type", "criterion"), [("vanilla", "bce"), ("lsgan", "least_squares")]
)
def test_generator_equals_monai(gan_type, criterion, scales):
    monai = pytest.importorskip("monai.losses")
    theirs = monai.PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    logits = [torch.randn(3, 1, 4 + i, 4) for i in range(scales)]
    expected = theirs(list(logits), True, False)
    torch.testing.assert_close(GANLoss(gan_type)(logits, True), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("real", [True, False])
def test_logistic_and_hinge_equal_torch(real):
    labels = torch.full_like(LOGITS, 1.0 if real else -1.0)
    expected = F.soft_margin_loss(LOGITS, labels)
    torch.testing.assert_close(GANLoss("wgan-logistic-ns")(LOGITS, real), expected)
    expected = F.margin_ranking_loss(LOGITS, torch.zeros_like(LOGITS), labels, margin=1.0)
    torch.testing.assert_close(GANLoss("hinge")(LOGITS, real, is_disc=True), expected)


def test_soft_labels_equal_torch():
    loss = GANLoss("vanilla", real_label_val=0.9, fake_label_val=0.1)
    labels = torch.full_like(LOGITS, 0.9)
    expected = F.binary_cross_entropy_with_logits(LOGITS, labels)
    torch.testing.assert_close(loss(LOGITS, True), expected)
    expected = F.binary_cross_entropy_with_logits(LOGITS, 1 - labels)
    torch.testing.assert_close(loss(LOGITS, False), expected)


@pytest.mark.parametrize("gan_type", [kind for kind in GAN_TYPES if kind != "smgan"])
def test_lists_average_scales_and_feature_lists_end_with_logits(gan_type):
    first, second = torch.randn(2, 1, 3, 3), torch.randn(2, 1, 5, 4)
    loss = GANLoss(gan_type)
    expected = (loss(first, True) + loss(second, True)) / 2
    torch.testing.assert_close(loss([first, second], True), expected)
    features = torch.full((2, 8, 9, 9), torch.nan)  # would be seen if it were looked at
    torch.testing.assert_close(loss([[features, first], (features, second)], True), expected)


def test_reductions_agree():
    values = gan_loss(LOGITS, True, gan_type="hinge", is_disc=True, reduction="none")
    assert values.shape == LOGITS.shape
    total = gan_loss(LOGITS, True, gan_type="hinge", is_disc=True, reduction="sum")
    assert values.sum() == total == 6.5


@pytest.mark.parametrize("gan_type", GAN_TYPES)
@pytest.mark.parametrize("is_disc", [True, False])
def test_gradcheck(gan_type, is_disc):
    logits = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 1, 5, 5, dtype=torch.float64)
    for real in (True, False):
        assert torch.autograd.gradcheck(
            lambda x, real=real: GANLoss(gan_type)(x, real, is_disc=is_disc, mask=mask), logits
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_reduced_in_float32(dtype):
    logits = torch.randn(64, 1, 16, 16).to(dtype)
    for gan_type in ("vanilla", "hinge", "wgan-logistic-ns"):
        value = GANLoss(gan_type)(logits, True, is_disc=True)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, GANLoss(gan_type)(logits.float(), True, is_disc=True))


def test_weight_counts_for_the_generator_only():
    loss = GANLoss("hinge")
    value = torch.tensor(2.0)
    assert loss.weigh(value, 0.1, input=None, target_is_real=True) == pytest.approx(0.2)
    assert loss.weigh(value, 0.1, input=None, target_is_real=True, is_disc=True) == 2.0


def test_copies_and_pickles():
    loss = GANLoss("lsgan", real_label_val=0.8)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(other(LOGITS, True), loss(LOGITS, True))


def test_compiled_equals_eager():
    loss = GANLoss("hinge")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(LOGITS, False, is_disc=True), loss(LOGITS, False, is_disc=True)
    )


def test_labels_without_effect_are_reported():
    with pytest.warns(UserWarning, match="gan_type='hinge' has no labels: real_label_val=0.9"):
        GANLoss("hinge", real_label_val=0.9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: GANLoss("hing"),
            ValueError,
            "gan_type must be one of .* not 'hing'; did you mean 'hinge'",
        ),
        (lambda: GANLoss("hinge", reduction="avg"), ValueError, "reduction must be one of"),
        (
            lambda: GANLoss("hinge")(LOGITS, LOGITS),
            TypeError,
            "target_is_real must be True or False, not Tensor",
        ),
        (lambda: GANLoss("hinge")("x", True), TypeError, "input must be a tensor, a list"),
        (lambda: GANLoss("hinge")([], True), ValueError, "input is an empty list"),
        (lambda: GANLoss("hinge")([[]], True), ValueError, "input has a scale without tensors"),
        (lambda: GANLoss("hinge")([1.0], True), TypeError, "input must hold tensors, not float"),
        (
            lambda: GANLoss("hinge")(torch.ones(2).long(), True),
            TypeError,
            "floating-point logits, not torch.int64",
        ),
        (
            lambda: GANLoss("hinge", reduction="none")([torch.ones(2), torch.ones(3)], True),
            ValueError,
            r"cannot average scales of shapes \(2,\), \(3,\)",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
