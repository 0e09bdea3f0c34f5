"""The benchmark of penalties runs as its help says, at toy size and in half precision."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_it_measures_every_penalty_in_half_precision(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    toy = "--threads 1 --batch 2 --size 8 --channels 4 --rounds 2 --precision bf16 --json"
    monkeypatch.setattr(sys, "argv", ["gan.py", *toy.split()])
    main = runpy.run_path(str(BENCHMARKS / "gan.py"))["main"]
    assert main() in (0, 1)  # whether the goal is met, two rounds cannot tell
    tables = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(table["rows"]) for table in tables] == [5, 4]
    assert all("cpu, bf16" in table["title"] for table in tables)
    assert all(table["rows"][-1]["name"] == "GANObjective's own work" for table in tables)
    assert all(row["ratio"] > 0 for table in tables for row in table["rows"])
