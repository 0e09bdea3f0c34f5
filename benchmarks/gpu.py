"""What losskit costs on a CUDA device beside what people use: ratios, floors and peak memory.

    python benchmarks/gpu.py --out FOLDER               # 16x3x512x512, about 3 minutes
    python benchmarks/gpu.py --out FOLDER --rehearse    # the same on the CPU at toy size

The ways of a group run interleaved in one process, timed by CUDA events; each step takes another of a few
input sets, so that the L2 cache does not help. Ratios are medians of the ratios to the first way. figures.json
and figures.md are written anew after each group. A way whose package is missing, or that fails, is left out with a word.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import logging
import random
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_groups import GROUPS, Group, Way

from losskit.backbones import clear_features


@dataclass
class Figure:
    group: str
    way: str
    median_ms: float | None = None
    spread_ms: float | None = None  # between the quartiles
    ratio: float | None = None
    peak_mib: float | None = None
    floor_ms: float | None = None
    word: str = ""


class Clock:
    """Milliseconds of one call: between CUDA events, or on the wall where there is no card."""

    def __init__(self, device: torch.device) -> None:
        self.on_card = device.type == "cuda"

    def __call__(self, work: Callable[[], object]) -> float:
        if not self.on_card:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1e3
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        work()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))

    def peak(self, work: Callable[[], object]) -> float | None:
        """MiB that one call allocates beyond what was there."""
        if not self.on_card:
            return None
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def ceilings(device: torch.device, clock: Clock) -> dict[str, float]:
    """What the card does: multiply-adds a second by precision, and bytes a second."""
    size, words = (8192, 2**28) if clock.on_card else (256, 2**16)
    found = {}
    for name, dtype, tf32 in (
        ("fp32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        took = [clock(lambda left=left, right=right: left @ right) for _ in range(7)]
        found[f"{name}_multiply_adds_per_s"] = size**3 / statistics.median(took[2:]) * 1e3
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.randn(words, device=device)
    target = torch.empty_like(source)
    took = [clock(lambda: target.copy_(source)) for _ in range(7)]
    found["bytes_per_s"] = 8 * words / statistics.median(took[2:]) * 1e3
    return found


def floor_ms(group: Group, rates: dict[str, float]) -> float:
    """The larger of the arithmetic's and the bytes' time."""
    arithmetic = group.multiply_adds / rates[f"{group.precision}_multiply_adds_per_s"]
    return max(arithmetic, group.bytes_moved / rates["bytes_per_s"]) * 1e3


def usable(way: Way) -> str:
    """An empty word, or why a way is left out."""
    missing = [name for name in way.needs if importlib.util.find_spec(name) is None]
    return f"left out: {', '.join(missing)} is not installed" if missing else ""


def measure(group: Group, floor: float, clock: Clock, rounds: int, until: float) -> list[Figure]:
    """Time a group's ways, interleaved in an order drawn anew each round."""
    figures = {name: Figure(group.title, name, floor_ms=floor) for name in group.ways}
    ready: dict[str, Callable[[], object]] = {}
    for name, way in group.ways.items():
        figures[name].word = usable(way)
        if figures[name].word:
            continue
        try:
            work = way.make()
            for _ in range(3):
                work()
            figures[name].peak_mib = clock.peak(work)
            ready[name] = work
        except Exception as error:  # one way's fault is no other's
            figures[name].word = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    times: dict[str, list[float]] = {name: [] for name in ready}
    draw = random.Random(0)
    for index in range(rounds):
        if index >= 3 and time.monotonic() > until:
            break
        for name in draw.sample(list(ready), len(ready)):
            times[name].append(clock(ready[name]))
    base = times.get(next(iter(group.ways)))
    for name, values in times.items():
        figure = figures[name]
        low, figure.median_ms, high = statistics.quantiles(values, n=4)
        figure.spread_ms = high - low
        if base:
            figure.ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
    clear_features()
    return list(figures.values())


def card(device: torch.device) -> dict[str, str]:
    """Which card, driver and torch, and when."""
    about = {"torch": torch.__version__, "date": time.strftime("%d %B %Y"), "card": "CPU rehearsal"}
    if device.type == "cuda":
        about["card"] = torch.cuda.get_device_name()
        about["driver"] = str(getattr(torch._C, "_cuda_getDriverVersion", lambda: "unknown")())
    return about


def table(about: dict[str, str], rates: dict[str, float], figures: list[Figure]) -> str:
    """The figures as a page."""

    def shown(value: float | None, places: int) -> str:
        return "" if value is None else f"{value:.{places}f}"

    lines = [", ".join(about.values()), "", *(f"{k}: {v:.3g}" for k, v in rates.items())]
    group = ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", group, "", "| way | ms | ± | ratio | floor ms | peak MiB | |"]
            lines += ["|---|---|---|---|---|---|---|"]
        cells = (
            figure.way,
            shown(figure.median_ms, 3),
            shown(figure.spread_ms, 3),
            shown(figure.ratio, 3),
            shown(figure.floor_ms, 3),
            shown(figure.peak_mib, 0),
            figure.word,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at toy size")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument(
        "--seconds", type=float, default=12, help="most seconds of a group's rounds"
    )
    parser.add_argument("--only", default="", help="groups whose title has this in it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    device = torch.device("cpu" if options.rehearse else "cuda")
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # PyTorch's default is on; the fp32 rows are fp32
    clock = Clock(device)
    about, rates = card(device), ceilings(device, clock)
    figures: list[Figure] = []
    rounds = 3 if options.rehearse else options.rounds
    for make in GROUPS:
        group = make(device, options.rehearse)
        if options.only not in group.title:
            continue
        until = time.monotonic() + options.seconds
        figures += measure(group, floor_ms(group, rates), clock, rounds, until)
        content: dict[str, Any] = {"about": about, "rates": rates}
        content["figures"] = [asdict(figure) for figure in figures]
        (options.out / "figures.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        page = table(about, rates, figures)
        (options.out / "figures.md").write_text(page, encoding="utf-8")
        print(f"{group.title}: {time.monotonic() - until + options.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
