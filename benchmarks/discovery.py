"""How long finding the installed losses takes, as whole processes.

    python benchmarks/discovery.py

Goals: `losskit list --json` at most 2.5 times a process that only imports argparse,
importlib.metadata and pluggy; 20 plugins of 50 losses at most 1.6 times one such plugin; 2,000
installed distributions at most linearly slower than 500.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _timing import add_options, compare, report

LIST = "import sys; from losskit.cli import main; sys.exit(main(['list', '--json']))"
BASE = "import argparse, importlib.metadata, pluggy"
PLUGIN = """
from losskit import LossSpec, hookimpl
api = 1

@hookimpl
def losskit_losses():
    return [
        LossSpec(f"{__name__}{i}", f"{__name__}_losses:Toy{i}", f"Toy {i}.", tags=("toy",))
        for i in range(50)
    ]
"""
COUNT = "import losskit; assert len(losskit.list_losses(tag='toy')) == {}, losskit.plugins()"


def process(code: str, path: Path | None = None, **environment: str) -> Callable[[], None]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("LOSSKIT_")}
    env |= environment
    if path is not None:
        env["PYTHONPATH"] = str(path)

    def run() -> None:
        subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, check=True)

    return run


def site(folder: Path, plugins: int, others: int = 0) -> Path:
    """A folder with so many plugins and other distributions installed."""
    folder.mkdir()
    for index in range(plugins):
        (folder / f"toys_{index}_plugin.py").write_text(PLUGIN)
        info = _installed(folder, f"toys-{index}")
        (info / "entry_points.txt").write_text(f"[losskit]\ntoys{index} = toys_{index}_plugin\n")
    for index in range(others):
        info = _installed(folder, f"other-{index}")
        (info / "entry_points.txt").write_text(f"[console_scripts]\nx{index} = other:main\n")
    return folder


def _installed(folder: Path, name: str) -> Path:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return info


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, rounds=21)
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        one, twenty = site(root / "one", 1), site(root / "twenty", 20)
        few, many = site(root / "few", 1, 500), site(root / "many", 1, 2000)
        for folder, plugins in ((one, 1), (twenty, 20), (few, 1), (many, 1)):
            process(COUNT.format(50 * plugins), folder)()  # also writes the byte code
        rows = compare(
            {"imports alone": process(BASE), "losskit list": process(LIST)}, rounds=options.rounds
        )
        met &= report("losskit list --json", rows, {"losskit list": 2.5}, options.json)
        rows = compare(
            {"1 plugin": process(LIST, one), "20 plugins": process(LIST, twenty)},
            rounds=options.rounds,
        )
        met &= report("50 losses a plugin", rows, {"20 plugins": 1.6}, options.json)
        rows = compare(
            {"500 distributions": process(LIST, few), "2,000": process(LIST, many)},
            rounds=max(options.rounds // 3, 3),
        )
        met &= report("other distributions installed", rows, {"2,000": 4.0}, options.json)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
