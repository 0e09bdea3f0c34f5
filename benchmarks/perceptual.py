"""What perceptual objectives cost, next to other libraries on the same weights.

    python benchmarks/perceptual.py                      # CPU, 2 threads, 4x3x256x256
    python benchmarks/perceptual.py --device cuda --batch 16 --size 512

All ways run forward and backward in one process, interleaved, after two warm-up rounds; printed are
medians and their ratio to MMagic's algorithm (two trunks), or to the losses run one by one.
Weights are random: they do not change the cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losskit import shared_features
from losskit.backbones import clear_features
from losskit_perceptual import LPIPS, PerceptualLoss
from losskit_perceptual.networks.vgg import build_vgg

PERCEPTUAL = {"2": 0.1, "7": 0.1, "16": 1.0, "25": 1.0, "34": 1.0}
STYLE = {"8": 1.0, "17": 1.0, "26": 1.0, "31": 1.0}
PERCEPTUAL_16 = {"2": 0.1, "7": 0.1, "14": 1.0, "21": 1.0, "28": 1.0}
STYLE_16 = {"3": 1.0, "8": 1.0, "15": 1.0, "22": 1.0}
Step = Callable[[Tensor, Tensor], Tensor]
THREE = "three one by one (mmagic x2 + lpips)"
BASES = ("mmagic", THREE)


class TwoTrunks(nn.Module):
    """MMagic's algorithm, written down plainly: one trunk per component, both images through each."""

    def __init__(self, name: str, perceptual: dict[str, float], style: dict[str, float]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(
            [_plain_vgg(name, max(map(int, layers)) + 1) for layers in (perceptual, style)]
        )
        self.layers = (perceptual, style)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def features(self, image: Tensor, part: int) -> dict[str, Tensor]:
        x = (image - self.mean) / self.std
        found = {}
        for index, layer in enumerate(self.trunks[part]):
            x = layer(x)
            if str(index) in self.layers[part]:
                found[str(index)] = x.clone()  # the in-place ReLU comes next
        return found

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        total = pred.new_zeros(())
        for part, weights in enumerate(self.layers):
            fake, real = self.features(pred, part), self.features(target.detach(), part)
            for key, weight in weights.items():
                a, b = (fake[key], real[key]) if part == 0 else (_gram(fake[key]), _gram(real[key]))
                total = total + weight * F.l1_loss(a, b)
        return total


def _plain_vgg(name: str, depth: int) -> nn.Sequential:
    trunk = build_vgg(name, "random").features[:depth].eval().requires_grad_(False)
    for layer in trunk:
        if isinstance(layer, nn.ReLU):
            layer.inplace = True
    return trunk


def _gram(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    flat = x.view(b, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


def piq_losses(device: torch.device) -> Step:
    import piq

    def make(cls: type[nn.Module], layers: dict[str, float], **more: object) -> nn.Module:
        trunk = _plain_vgg("vgg19", max(map(int, layers)) + 1)
        for layer in trunk:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        return cls(
            feature_extractor=trunk, layers=list(layers), weights=list(layers.values()), **more
        ).to(device)

    content = make(piq.ContentLoss, PERCEPTUAL, distance="mae")
    style = make(piq.StyleLoss, STYLE, distance="mae")
    return lambda pred, target: content(pred, target) + style(pred, target)


def lpips_vgg(device: torch.device) -> nn.Module:
    import lpips

    return (
        lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        .eval()
        .requires_grad_(False)
        .to(device)
    )


def steps(device: torch.device, quick: bool) -> dict[str, tuple[str, bool, Step]]:
    """Name → (what it is measured against, whether the target stays, the step)."""
    ours: dict[str, Any] = {"weights": "random", "norm_img": False}
    plain = PerceptualLoss(PERCEPTUAL, layer_weights_style=STYLE, **ours)
    two = TwoTrunks("vgg19", PERCEPTUAL, STYLE).to(device)
    two_16 = TwoTrunks("vgg16", PERCEPTUAL_16, STYLE_16).to(device)
    reference = lpips_vgg(device)
    shared_16 = PerceptualLoss(
        PERCEPTUAL_16, layer_weights_style=STYLE_16, vgg_type="vgg16", **ours
    )
    lpips = LPIPS(net="vgg", weights="random")

    def together(pred: Tensor, target: Tensor) -> Tensor:
        with shared_features():
            return shared_16(pred, target) + lpips(pred, target)

    table: dict[str, tuple[str, bool, Step]] = {
        "mmagic": ("mmagic", False, two),
        "piq": ("mmagic", False, piq_losses(device)),
        "losskit": ("mmagic", False, plain),
        "losskit, fixed target": ("mmagic", True, plain),
        THREE: (
            THREE,
            False,
            lambda pred, target: (
                two_16(pred, target) + reference(pred, target, normalize=True).mean()
            ),
        ),
        "losskit, three on one VGG16": (THREE, False, together),
    }
    if not quick or device.type == "cpu":  # where there is nothing to wait for
        compiled = PerceptualLoss(PERCEPTUAL, layer_weights_style=STYLE, compile=True, **ours)
        table["losskit, compile"] = ("mmagic", False, compiled)
        table["losskit, compile, fixed target"] = ("mmagic", True, compiled)
    if not quick:
        whole = torch.compile(PerceptualLoss(PERCEPTUAL, layer_weights_style=STYLE, **ours))
        table["losskit, whole loss in torch.compile"] = ("mmagic", False, whole)
        last = PerceptualLoss(PERCEPTUAL, layer_weights_style=STYLE, channels_last=True, **ours)
        table["losskit, channels_last"] = ("mmagic", False, last)
        half = PerceptualLoss(
            PERCEPTUAL, layer_weights_style=STYLE, precision="bf16", channels_last=True, **ours
        )
        table["losskit, bf16, channels_last"] = ("mmagic", False, half)
        fast = PerceptualLoss(
            PERCEPTUAL,
            layer_weights_style=STYLE,
            precision="bf16",
            channels_last=True,
            compile=True,
            **ours,
        )
        table["losskit, compile, bf16, channels_last, fixed target"] = ("mmagic", True, fast)
    return table


def run_once(step: Step, pred: Tensor, target: Tensor) -> tuple[float, float]:
    """Seconds on the clock, and of the processor: the second hardly minds what else is running."""
    pred.grad = None
    if pred.is_cuda:
        torch.cuda.synchronize()
    start, busy = time.perf_counter(), time.process_time()
    step(pred, target).backward()
    if pred.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - busy


def kept_bytes(step: Step, pred: Tensor, target: Tensor) -> int:
    """Activations kept for the backward pass, each storage once, without the frozen weights."""
    clear_features()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape[0] == pred.shape[0]:  # weights have no batch
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = step(pred, target)
    del value
    return sum(kept.values())


def peak_bytes(step: Step, pred: Tensor, target: Tensor) -> int:
    """The most that one step allocates at a time."""
    clear_features()
    gc.collect()
    pred.grad = None
    if pred.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(pred, target).backward()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        step(pred, target).backward()
    held = most = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="leave out what has to be compiled")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    device = torch.device(arguments.device)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    table = steps(device, arguments.quick)
    pred = torch.rand(shape, device=device, requires_grad=True)
    fixed = torch.rand(shape, device=device)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in table}
    for round_ in range(arguments.repeats + 2):
        for name, (_, stays, step) in table.items():
            target = fixed if stays else torch.rand(shape, device=device)
            seconds = run_once(step, pred, target)
            if round_ >= 2:
                times[name].append(seconds)
    medians = {name: statistics.median(v for v, _ in values) for name, values in times.items()}
    busy = {name: statistics.median(v for _, v in values) for name, values in times.items()}
    rows = [
        {
            "way": name,
            "seconds": round(medians[name], 4),
            "against": base,
            "ratio": round(medians[name] / medians[base], 3),
            "cpu_ratio": round(busy[name] / busy[base], 3),
        }
        for name, (base, _, _) in table.items()
    ]
    compared = [n for n in table if n in BASES or n in ("losskit", "losskit, three on one VGG16")]
    for kind, measure in (("peak", peak_bytes), ("kept", kept_bytes)):
        memory = {
            name: measure(table[name][2], pred, torch.rand(shape, device=device))
            for name in compared
        }
        for row in rows:
            if row["way"] in memory:
                row[f"{kind}_mb"] = round(memory[row["way"]] / 1e6)
                row[f"{kind}_ratio"] = round(memory[row["way"]] / memory[row["against"]], 3)
    setting = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor(),
        "threads": arguments.threads,
        "shape": shape,
        "torch": torch.__version__,
        "repeats": arguments.repeats,
    }
    if arguments.json:
        print(json.dumps({"schema": 1, "setting": setting, "rows": rows}, indent=2))
        return
    print(setting)
    for row in rows:
        memory = "".join(
            f"   {kind} {row[f'{kind}_mb']} MB ({row[f'{kind}_ratio']})"
            for kind in ("peak", "kept")
            if f"{kind}_mb" in row
        )
        print(
            f"{row['way']:<56} {row['seconds']:8.3f} s   {row['ratio']:.3f} "
            f"(cpu {row['cpu_ratio']:.3f}){memory}"
        )


if __name__ == "__main__":
    main()
