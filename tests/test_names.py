"""No undefined name anywhere: linters look away from annotations such as ``Float[Tensor, "b c"]``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: The shape in ``Float[Tensor, "b *shape"]``.
_SHAPE = re.compile(r"(?<=\[Tensor, )\"[^\"]*\"(?=\])")
FOLDERS = ("packages", "tests", "examples", "benchmarks", "docs", ".ci")


def undefined_names(*paths: Path) -> list[str]:
    """What ruff's F821 finds, but for jaxtyping's axes, which are expressions to it."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821"]
    command += ["--no-cache", "--output-format", "json", "--exclude", "docs/_*,**/templates"]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = []
    for fault in json.loads(done.stdout):
        if fault["code"] != "F821":  # code that does not parse by itself: scaffolds
            continue
        path, place = Path(fault["filename"]), fault["location"]
        line = path.read_text(encoding="utf-8").splitlines()[place["row"] - 1]
        if any(m.start() < place["column"] - 1 < m.end() for m in _SHAPE.finditer(line)):
            continue
        found.append(f"{path}:{place['row']}: {fault['message']}")
    return found


def test_no_undefined_names() -> None:
    pytest.importorskip("ruff")
    assert undefined_names(*(ROOT / name for name in FOLDERS)) == []


def test_an_undefined_name_would_be_found(tmp_path) -> None:
    pytest.importorskip("ruff")
    (tmp_path / "a.py").write_text(
        'def f(x: Float[Tensor, "b"], y: "Tensr") -> Float[Tensor, "b c"]:\n    return undefined(x)\n'
    )
    names = [fault.partition("name ")[2] for fault in undefined_names(tmp_path)]
    assert names == ["`Float`", "`Tensor`", "`Tensr`", "`Float`", "`Tensor`", "`undefined`"]
