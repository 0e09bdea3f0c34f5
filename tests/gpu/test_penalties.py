"""Penalties under mixed precision and compiled discriminators: the eager float32 value and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from losskit_gan import finite_difference_penalty, gradient_penalty_loss, r1_penalty
from losskit_train.networks import ResidualDiscriminator

Penalty = Callable[[nn.Module, Tensor], Tensor]


def _finite_differences(disc: nn.Module, images: Tensor) -> Tensor:
    noise = torch.linspace(-1, 1, images.numel(), device=images.device).view_as(images)
    return finite_difference_penalty(disc, images, sigma=0.1, noise=noise)


def _gradient_penalty(disc: nn.Module, images: Tensor) -> Tensor:
    torch.manual_seed(0)
    return gradient_penalty_loss(disc, images, images.flip(0), norm_mode="HWC")


PENALTIES: dict[str, Penalty] = {
    "r1": lambda disc, images: r1_penalty(disc, images, norm_mode="HWC"),
    "wgan-gp": _gradient_penalty,
    "finite differences": _finite_differences,
}


def _slopes(
    penalty: Penalty, disc: nn.Module, images: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """The penalty, under autocast to a dtype, and its gradient by all weights in one vector."""
    disc.zero_grad()
    with torch.autocast(images.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        value = penalty(disc, images)
    value.backward()  # outside autocast, as in training
    gradients = [p.grad.flatten() for p in disc.parameters() if p.grad is not None]
    return value.detach(), torch.cat(gradients)


def _setting(device: torch.device) -> tuple[nn.Module, Tensor]:
    disc = ResidualDiscriminator(image_size=32, channels=4).to(device)
    return disc, torch.rand(4, 3, 32, 32, device=device) * 2 - 1


def _assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for left, right in zip(found, expected, strict=True):
        assert (left - right).norm() <= 2e-3 * right.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", PENALTIES)
def test_autocast_changes_nothing(name: str, dtype: torch.dtype, device: torch.device) -> None:
    disc, images = _setting(device)
    expected = _slopes(PENALTIES[name], disc, images)
    _assert_same(_slopes(PENALTIES[name], disc, images, dtype), expected)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_scaler_changes_nothing(name: str, device: torch.device) -> None:
    disc, images = _setting(device)
    expected = _slopes(PENALTIES[name], disc, images)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0)
    optimizer = torch.optim.SGD(disc.parameters(), 0.0)
    disc.zero_grad()
    with torch.autocast(device.type, torch.float16):
        value = PENALTIES[name](disc, images)
    scaler.scale(value).backward()
    scaler.unscale_(optimizer)
    gradients = [p.grad.flatten() for p in disc.parameters() if p.grad is not None]
    _assert_same((value.detach(), torch.cat(gradients)), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", PENALTIES)
def test_compiled_discriminators_change_nothing(
    name: str, mode: str, layout: torch.memory_format, device: torch.device
) -> None:
    disc, images = _setting(device)
    expected = _slopes(PENALTIES[name], disc, images)
    torch._dynamo.reset()
    on_card = device.type == "cuda"
    disc = disc.to(memory_format=layout)
    # The rehearsal has no CUDA graphs, and need not wait for a compiler.
    compiled = torch.compile(disc, mode=mode) if on_card else torch.compile(disc, backend="eager")
    compiled(images).sum().backward()  # compiled for a step of its own, as in training
    _assert_same(_slopes(PENALTIES[name], compiled, images), expected)
