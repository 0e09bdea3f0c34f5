"""LeCam by hand, with its moving averages over several steps."""

from __future__ import annotations

import pytest
import torch

from losskit_gan.penalties.lecam import LeCamLoss, lecam_penalty

REAL = torch.tensor([2.0, -1.0], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 1.0], dtype=torch.float64)


def test_paper_s_form_by_hand():
    value = lecam_penalty(REAL, FAKE, real_anchor=0.5, fake_anchor=-1.0)
    assert value.item() == pytest.approx((9 + 0) / 2 + (3.5**2 + 0.5**2) / 2)


def test_code_s_form_by_hand():
    value = lecam_penalty(REAL, FAKE, real_anchor=0.5, fake_anchor=1.0, one_sided=True)
    assert value.item() == pytest.approx((1 + 0) / 2 + (3.5**2 + 0) / 2)


def test_averages_start_at_the_first_batch_and_follow():
    loss = LeCamLoss(decay=0.9)
    value = loss(REAL, FAKE)
    torch.testing.assert_close(value, lecam_penalty(REAL, FAKE, 0.5, -1.0))
    loss(REAL + 1, FAKE)
    assert loss.real_anchor.item() == pytest.approx(0.9 * 0.5 + 0.1 * 1.5)
    assert loss.fake_anchor.item() == pytest.approx(-1.0)
    state = loss.state_dict()
    loss.eval()(REAL + 9, FAKE)
    torch.testing.assert_close(loss.state_dict(), state)
    other = LeCamLoss().eval()
    other.load_state_dict(state)
    torch.testing.assert_close(other(REAL, FAKE), loss(REAL, FAKE))


def test_two_calls_before_one_backward():
    loss, real = LeCamLoss(), REAL.clone().requires_grad_()
    (loss(real, FAKE) + loss(real * 2, FAKE)).backward()
    assert real.grad.isfinite().all()


def test_no_gradient_goes_through_the_averages():
    real = REAL.clone().requires_grad_()
    LeCamLoss()(real, FAKE).backward()
    torch.testing.assert_close(real.grad, (REAL + 1))  # d/dx mean (x + 1)² = (x + 1) for two


@pytest.mark.parametrize("one_sided", [False, True])
def test_gradcheck_and_gradgradcheck(one_sided):
    pair = [x.clone().requires_grad_() for x in (REAL, FAKE)]

    def penalty(real, fake):
        return lecam_penalty(real, fake, 0.5, -0.9, one_sided=one_sided)

    assert torch.autograd.gradcheck(penalty, pair)
    assert torch.autograd.gradgradcheck(penalty, pair)
    # The module's averages stand still in evaluation, so its gradient is the slope from call to call.
    module = LeCamLoss(anchors=(0.5, -0.9), one_sided=one_sided).double().eval()
    assert torch.autograd.gradcheck(module, pair)
    assert torch.autograd.gradgradcheck(module, pair)


def test_scales_average():
    value = lecam_penalty([REAL, REAL], [FAKE, FAKE], 0.5, -1.0)
    torch.testing.assert_close(value, lecam_penalty(REAL, FAKE, 0.5, -1.0))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"anchors must be two numbers .* not 3"):
        LeCamLoss(anchors=3)
    with pytest.raises(ValueError, match=r"decay must be at least 0 and below 1, not 1\.0"):
        LeCamLoss(decay=1.0)
    with pytest.raises(TypeError, match="real_logits must hold floating-point logits"):
        LeCamLoss()(REAL.long(), FAKE)
