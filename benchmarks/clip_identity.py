"""What sharing saves: three CLIP losses against one, and FaceIdLoss with and without its cache.

Ratios of medians within one process, forward and backward, random weights (they cost the same). On the
CPU it is CPU time that counts, so that a busy machine changes little:

    python benchmarks/clip_identity.py [--repeats 7] [--threads 2] [--device cpu] [--json]

Exits with 1 if a ratio is above its bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

import losskit
from losskit_clip import CLIPDirectionalLoss, CLIPImageLoss, CLIPLoss
from losskit_identity import FaceIdLoss

BOUNDS = {"three CLIP losses / one": 1.15, "FaceIdLoss cached / uncached": 0.75}


def _interleaved(
    functions: dict[str, Callable[[], None]], repeats: int, device: str
) -> dict[str, float]:
    """Medians in seconds; taking turns spreads the machine's moods over all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for step in range(repeats + 1):
        for name, function in functions.items():
            if device != "cpu":
                torch.cuda.synchronize()
            start = clock()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            if step:  # the first is to warm up
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def clip(repeats: int, device: str, model: str = "ViT-B-32") -> dict[str, float]:
    """One loss on a pair of images, and three; both encode prediction and target."""
    options = {"model": model, "weights": "random"}
    image = CLIPImageLoss(**options)
    three = losskit.Objective(
        [
            losskit.Term(CLIPLoss("a photo of a cat", **options), data_info={"image": "pred"}),
            losskit.Term(
                CLIPDirectionalLoss("sketch", templates=None, **options),
                data_info={"pred": "pred", "source": "target"},
            ),
            losskit.Term(image),
        ]
    ).to(device)
    one = losskit.Objective([losskit.Term(image)])

    def run(objective: losskit.Objective) -> Callable[[], None]:
        def step() -> None:
            # A new target every time: what is measured is sharing, not the cache.
            pred = torch.rand(4, 3, 256, 256, device=device, requires_grad=True)
            target = torch.rand(4, 3, 256, 256, device=device)
            objective(pred=pred, target=target).total.backward()

        return step

    return _interleaved({"one": run(one), "three": run(three)}, repeats, device)


def identity(repeats: int, device: str) -> dict[str, float]:
    """A fixed target, with its features kept, and the same target new every time."""
    loss = FaceIdLoss(facenet="ArcFace", weights="random").to(device)
    fixed = torch.rand(2, 3, 256, 256, device=device) * 2 - 1

    def run(kept: bool) -> Callable[[], None]:
        def step() -> None:
            pred = (torch.rand(2, 3, 256, 256, device=device) * 2 - 1).requires_grad_()
            loss(pred, fixed if kept else fixed.clone()).backward()

        return step

    return _interleaved({"uncached": run(False), "cached": run(True)}, repeats, device)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clip_times = clip(arguments.repeats, arguments.device)
    face_times = identity(arguments.repeats, arguments.device)
    ratios = {
        "three CLIP losses / one": clip_times["three"] / clip_times["one"],
        "FaceIdLoss cached / uncached": face_times["cached"] / face_times["uncached"],
    }
    if arguments.json:
        print(json.dumps({"schema": 1, "ratios": ratios, "clip": clip_times, "face": face_times}))
    else:
        for name, ratio in ratios.items():
            print(f"{name}: {ratio:.3f} (at most {BOUNDS[name]})")
    return int(any(ratio > BOUNDS[name] for name, ratio in ratios.items()))


if __name__ == "__main__":
    sys.exit(main())
