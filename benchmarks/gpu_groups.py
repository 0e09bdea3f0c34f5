"""The groups that benchmarks/gpu.py measures: what is compared, and what each must at least compute and move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import losskit
from core import TERMS, by_hand
from losskit_gan import GANObjective
from losskit_perceptual import DISTS, LPIPS, PerceptualLoss
from losskit_perceptual.networks.vgg import build_vgg
from losskit_train.networks import ResidualDiscriminator
from perceptual import PERCEPTUAL, STYLE, TwoTrunks, lpips_vgg, piq_losses

Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    make: Callable[[], Callable[[], object]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    title: str
    ways: Mapping[str, Way]  # all are held against the first
    multiply_adds: float = 0.0
    bytes_moved: float = 0.0
    precision: str = "fp32"


class Batches:
    """Pairs of images, a few sets in turn."""

    def __init__(self, device: torch.device, shape: tuple[int, ...], sets: int = 4) -> None:
        self.shape = shape
        self.pairs = [
            (torch.rand(shape, device=device, requires_grad=True), torch.rand(shape, device=device))
            for _ in range(sets)
        ]

    @property
    def bytes_both_ways(self) -> int:
        """Both images read, forward and backward, and a gradient written."""
        return 5 * self.pairs[0][0].nbytes

    def way(
        self, make: Callable[[], Step], *needs: str, fixed: bool = False, tf32: bool = False
    ) -> Way:
        """Forward and backward; a target that is not fixed is another tensor each step."""

        def made() -> Callable[[], object]:
            step, turn = make(), count()

            def work() -> None:
                pred, target = self.pairs[next(turn) % len(self.pairs)]
                target = self.pairs[0][1] if fixed else target.detach()
                pred.grad = None
                _allow_tf32(tf32)  # read where a kernel is launched
                step(pred, target).backward()
                _allow_tf32(False)

            return work

        return Way(made, needs)


def _batches(device: torch.device, toy: bool, batch: int = 16, size: int = 512) -> Batches:
    return Batches(device, (1, 3, 32, 32) if toy else (batch, 3, size, size))


def _vgg_multiply_adds(name: str, depth: int, shape: tuple[int, ...]) -> float:
    """Of the forward pass of a trunk."""
    batch, channels, height, width = shape
    total = 0.0
    with torch.device("meta"):
        layers = build_vgg(name, "random").features[:depth]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            total += batch * 9 * channels * layer.out_channels * height * width
            channels = layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            height, width = height // 2, width // 2
    return total


def perceptual(device: torch.device, toy: bool) -> Group:
    batches = _batches(device, toy)
    ours: dict[str, Any] = {"weights": "random", "norm_img": False}

    def loss(**options: Any) -> Callable[[], Step]:
        return lambda: PerceptualLoss(PERCEPTUAL, layer_weights_style=STYLE, **ours, **options).to(
            device
        )

    fast = loss(precision="bf16", channels_last=True, compile=not toy)
    mmagic = lambda: TwoTrunks("vgg19", PERCEPTUAL, STYLE).to(device)  # noqa: E731
    return Group(
        "perceptual + style, VGG19",
        {
            "MMagic's algorithm": batches.way(mmagic),
            "MMagic's algorithm, TF32": batches.way(mmagic, tf32=True),
            "piq": batches.way(lambda: piq_losses(device), "piq"),
            "losskit": batches.way(loss()),
            "losskit, TF32": batches.way(loss(), tf32=True),
            "losskit, channels_last": batches.way(loss(channels_last=True)),
            "losskit, bf16, channels_last": batches.way(loss(precision="bf16", channels_last=True)),
            "losskit, fixed target": batches.way(loss(), fixed=True),
            "losskit, bf16, channels_last, compiled": batches.way(fast),
            "losskit, the same, fixed target": batches.way(fast, fixed=True),
        },
        # Both images forward, the prediction's gradient by the inputs.
        multiply_adds=3 * _vgg_multiply_adds("vgg19", 35, batches.shape),
    )


def _allow_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def lpips(net: str) -> Callable[[torch.device, bool], Group]:
    def group(device: torch.device, toy: bool) -> Group:
        batches = _batches(device, toy)

        def theirs() -> Step:
            import lpips as package

            if net == "vgg":
                reference = lpips_vgg(device)
            else:
                reference = package.LPIPS(net=net, pnet_rand=True, verbose=False).to(device).eval()
                reference.requires_grad_(False)
            return lambda pred, target: reference(pred, target, normalize=True).mean()

        half: dict[str, Any] = {"precision": "bf16", "channels_last": True}
        return Group(
            f"LPIPS, {net}",
            {
                "lpips": batches.way(theirs, "lpips"),
                "losskit": batches.way(lambda: LPIPS(net=net, weights="random").to(device)),  # type: ignore[arg-type]
                "losskit, bf16, channels_last": batches.way(
                    lambda: LPIPS(net=net, weights="random", **half).to(device)  # type: ignore[arg-type]
                ),
            },
            multiply_adds=3 * _vgg_multiply_adds("vgg16", 30, batches.shape)
            if net == "vgg"
            else 0.0,
            bytes_moved=batches.bytes_both_ways,
        )

    return group


def dists(device: torch.device, toy: bool) -> Group:
    batches = _batches(device, toy)
    return Group(
        "DISTS",
        {"losskit": batches.way(lambda: DISTS(weights="random").to(device))},
        multiply_adds=3 * _vgg_multiply_adds("vgg16", 30, batches.shape),
    )


def ssim(device: torch.device, toy: bool) -> Group:
    batches = _batches(device, toy)

    def ours(**options: Any) -> Callable[[], Step]:
        return lambda: losskit.create("SSIMLoss", **options).to(device)

    def theirs() -> Step:
        from pytorch_msssim import ssim as reference

        return lambda pred, target: 1 - reference(pred, target, data_range=1.0)

    def kornia() -> Step:
        from kornia.losses import ssim_loss

        return lambda pred, target: ssim_loss(pred, target, 11)

    def fused() -> Step:
        from fussim import ssim as reference

        return lambda pred, target: 1 - reference(pred, target, data_range=1.0)

    return Group(
        "SSIM",
        {
            "pytorch-msssim": batches.way(theirs, "pytorch_msssim"),
            "kornia": batches.way(kornia, "kornia"),
            "fussim": batches.way(fused, "fussim"),
            "losskit": batches.way(ours()),
            "losskit, compiled": batches.way(
                lambda: torch.compile(ours()(), backend="eager" if toy else "inductor")
            ),
        },
        bytes_moved=batches.bytes_both_ways,
    )


def ms_ssim(device: torch.device, toy: bool) -> Group:
    batches = Batches(device, (1, 3, 192, 192)) if toy else _batches(device, toy)

    def theirs() -> Step:
        from pytorch_msssim import ms_ssim as reference

        return lambda pred, target: 1 - reference(pred, target, data_range=1.0)

    return Group(
        "MS-SSIM",
        {
            "pytorch-msssim": batches.way(theirs, "pytorch_msssim"),
            "losskit": batches.way(lambda: losskit.create("MSSSIMLoss").to(device)),
        },
        bytes_moved=batches.bytes_both_ways,
    )


def pixels(device: torch.device, toy: bool) -> Group:
    batches = _batches(device, toy)

    def ours() -> Step:
        objective = losskit.Objective(TERMS, on_nonfinite="ignore").to(device)
        return lambda pred, target: objective(pred=pred, target=target).total

    return Group(
        "objective of ten pixel terms",
        {
            "hand-written": batches.way(lambda: by_hand),
            "losskit": batches.way(ours),
            "losskit, compiled": batches.way(
                lambda: torch.compile(ours(), backend="eager" if toy else "inductor")
            ),
        },
        bytes_moved=batches.bytes_both_ways,
    )


def spectra(device: torch.device, toy: bool) -> Group:
    batches = _batches(device, toy)

    def by_hand_fft(pred: Tensor, target: Tensor) -> Tensor:
        return (torch.fft.rfft2(pred) - torch.fft.rfft2(target)).abs().mean()

    def one(name: str) -> Way:
        return batches.way(lambda: losskit.create(name).to(device))

    ways = {"FFT, hand-written": batches.way(lambda: by_hand_fft)}
    ways |= {name: one(name) for name in ("FFTLoss", "FocalFrequencyLoss", "GradientLoss")}
    ways["L1, hand-written"] = batches.way(lambda: F.l1_loss)
    ways |= {name: one(name) for name in ("L1Loss", "CharbonnierLoss")}
    return Group("single losses", ways, bytes_moved=batches.bytes_both_ways)


def penalties(device: torch.device, toy: bool) -> Group:
    from gan import FD_R1, FD_R1_REUSED, LOGISTIC, R1

    size, channels, batch = (32, 4, 2) if toy else (256, 32, 8)
    disc = ResidualDiscriminator(image_size=size, channels=channels).to(device)
    optimizer = torch.optim.Adam(disc.parameters(), 1e-5)
    fake, real = (torch.rand(batch, 3, size, size, device=device) * 2 - 1 for _ in range(2))

    def way(*terms: dict[str, object]) -> Way:
        def made() -> Callable[[], object]:
            objective = GANObjective(LOGISTIC, terms, on_nonfinite="ignore")

            def work() -> None:
                outputs = {"iteration": 0, "batch_size": batch, "disc": disc, "real_imgs": real}
                outputs |= {"disc_pred_fake": disc(fake), "disc_pred_real": disc(real)}
                optimizer.zero_grad()
                objective.discriminator(outputs).total.backward()
                optimizer.step()

            return work

        return Way(made)

    def hand() -> None:
        optimizer.zero_grad()
        (F.softplus(disc(fake)).mean() + F.softplus(-disc(real)).mean()).backward()
        optimizer.step()

    return Group(
        "discriminator step",
        {
            "plain step by hand": Way(lambda: hand),
            "GANObjective": way(),
            "with R1": way(R1),
            "with finite differences": way(FD_R1),
            "with finite differences, logits reused": way(FD_R1_REUSED),
        },
    )


#: Those with a goal first: a run cut short has them.
GROUPS: tuple[Callable[[torch.device, bool], Group], ...] = (
    ssim,
    perceptual,
    pixels,
    penalties,
    lpips("vgg"),
    dists,
    ms_ssim,
    lpips("alex"),
    lpips("squeeze"),
    spectra,
)
