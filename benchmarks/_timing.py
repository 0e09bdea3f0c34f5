"""Compare ways of doing one thing: interleaved runs, medians, ratios to the first."""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    name: str
    median_ms: float
    spread_ms: float  # between the quartiles
    ratio: float  # median of the ratios within one round: slow spells of the machine cancel


def compare(ways: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2) -> list[Row]:
    """Run every way once per round, so that no way has the machine's good hours to itself.

    The order is drawn anew for each round: in a fixed one a way would always pay for what the one
    before it left behind (freed memory that was given back, a cache full of its weights).
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    draw = random.Random(0)
    for index in range(-warmup, rounds):
        for name in draw.sample(names, len(names)):
            start = time.perf_counter()
            ways[name]()
            if index >= 0:
                times[name].append((time.perf_counter() - start) * 1e3)
    first = times[names[0]]
    rows = []
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4)
        ratio = statistics.median(a / b for a, b in zip(values, first, strict=True))
        rows.append(Row(name, statistics.median(values), high - low, ratio))
    return rows


def add_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help="runs of each way")
    parser.add_argument("--json", action="store_true", help="print JSON")


def report(title: str, rows: list[Row], goals: Mapping[str, float], as_json: bool) -> bool:
    """Print the table; tells whether every goal (an upper bound of a ratio) is met."""
    met = {row.name: row.ratio <= goals[row.name] for row in rows if row.name in goals}
    if as_json:
        content = {
            "title": title,
            "python": platform.python_version(),
            "rows": [{**asdict(row), "goal": goals.get(row.name)} for row in rows],
            "met": all(met.values()),
        }
        print(json.dumps(content))
    else:
        print(title)
        width = max(len(row.name) for row in rows)
        for row in rows:
            goal = f"  goal {goals[row.name]:g}" if row.name in goals else ""
            verdict = "" if row.name not in met else ("  met" if met[row.name] else "  MISSED")
            print(
                f"  {row.name:<{width}}  {row.median_ms:9.3f} ms  ±{row.spread_ms:7.3f}"
                f"  {row.ratio:6.3f}×{goal}{verdict}"
            )
    return all(met.values())
