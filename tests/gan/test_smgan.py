"""smgan against kornia's blur and the formulas written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losskit_gan.adversarial.formulas import smgan_discriminator_loss, smgan_generator_loss
from losskit_gan.adversarial.gan_loss import GANLoss
from losskit_gan.adversarial.smgan import gaussian_blur, smgan_loss


def _mask(size=48):
    mask = torch.zeros(2, 1, size, size, dtype=torch.float64)
    mask[0, :, 5:20, 8:30] = 1
    mask[1, :, 30:, :10] = 1
    return mask


@pytest.mark.parametrize(("size", "sigma"), [(71, 10.0), (5, 1.5)])
def test_blur_equals_kornia(size, sigma):
    kornia = pytest.importorskip("kornia.filters")
    mask = torch.cat([_mask(), 1 - _mask()], 1)
    kernel = torch.as_tensor([[sigma, sigma]], dtype=torch.float64)
    expected = kornia.gaussian_blur2d(mask, (size, size), kernel, border_type="constant")
    torch.testing.assert_close(gaussian_blur(mask, kernel_size=size, sigma=sigma), expected)


def test_discriminator_labels_fakes_with_the_blurred_mask():
    mask = _mask()
    logits = gaussian_blur(mask)
    loss = GANLoss("smgan")
    assert loss(logits, False, is_disc=True, mask=mask) == 0
    assert loss(logits * 0 + 1, True, is_disc=True, mask=mask) == 0
    torch.testing.assert_close(
        loss(logits + 0.5, False, is_disc=True, mask=mask), torch.tensor(0.25, dtype=torch.float64)
    )


def test_each_players_function_by_hand():
    mask = _mask()
    target = gaussian_blur(mask)
    on_real, on_fake = torch.full_like(mask, 0.7), target - 0.2
    value = smgan_discriminator_loss([on_real, on_real + 1], [on_fake, on_fake], mask)
    # (0.3² + 0.7²) / 2 over the scales, and 0.2².
    torch.testing.assert_close(value, torch.tensor(0.29 + 0.04, dtype=torch.float64))
    smooth = smgan_discriminator_loss(on_real, on_fake, mask, real_label=0.9)
    torch.testing.assert_close(smooth, torch.tensor(0.04 + 0.04, dtype=torch.float64))
    logits = 0.5 * mask  # 0.5 in the hole, 0 outside
    share = mask.mean()
    torch.testing.assert_close(smgan_generator_loss(logits, mask), 0.25 * share + (1 - share))
    within = smgan_generator_loss(logits, mask, elementwise=True, real_label=0.9)
    torch.testing.assert_close(within, torch.tensor(0.16, dtype=torch.float64))


def test_logits_are_resized_to_the_mask():
    mask = _mask()
    small = torch.randn(2, 1, 7, 6, dtype=torch.float64)
    resized = F.interpolate(small, size=(48, 48), mode="bilinear", align_corners=True)
    for real in (True, False):
        torch.testing.assert_close(
            smgan_loss(small, real, mask, is_disc=True),
            smgan_loss(resized, real, mask, is_disc=True),
        )


def test_generator_mask_cancels_as_in_mmagic_unless_elementwise():
    mask = _mask()
    logits = torch.randn(2, 1, 48, 48, dtype=torch.float64)
    plain = (logits - 1).square()
    torch.testing.assert_close(GANLoss("smgan")(logits, True, mask=mask), plain.mean())
    torch.testing.assert_close(
        GANLoss("smgan", elementwise_mask=True)(logits, True, mask=mask),
        plain[mask.bool()].sum() / mask.sum(),
    )


def test_empty_mask_is_finite():
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    value = GANLoss("smgan")(logits, True, mask=torch.zeros(2, 1, 8, 8))
    value.backward()
    assert value == 0
    assert torch.isfinite(logits.grad).all()


def test_no_gradient_reaches_the_mask():
    mask = _mask().requires_grad_()
    logits = torch.randn(2, 1, 48, 48, dtype=torch.float64, requires_grad=True)
    GANLoss("smgan")(logits, False, is_disc=True, mask=mask).backward()
    assert mask.grad is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: GANLoss("smgan")(torch.ones(1, 1, 4, 4), True),
            ValueError,
            "needs mask: 1 in the hole",
        ),
        (
            lambda: GANLoss("smgan")(torch.ones(1, 1, 4, 4), True, mask=1.0),
            TypeError,
            "mask must be a tensor, not float",
        ),
        (
            lambda: GANLoss("smgan")(torch.ones(1, 1), True, mask=torch.ones(1, 1, 4, 4)),
            ValueError,
            r"shape \(b, 1, h, w\), not \(1, 1\) and \(1, 1, 4, 4\)",
        ),
        (
            lambda: gaussian_blur(torch.ones(1, 1, 4, 4), kernel_size=4),
            ValueError,
            "kernel_size must be odd",
        ),
        (
            lambda: gaussian_blur(torch.ones(1, 1, 4, 4), sigma=0.0),
            ValueError,
            "sigma must be positive, not 0.0",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
