"""Python in a process of its own, as tests of several files start it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_python(
    *arguments: str | Path, timeout: float = 250, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python with ``arguments``, on one thread of the CPU; what it prints is kept."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def imported_by(code: str, *modules: str) -> list[str]:
    """Those of ``modules`` that a fresh process has imported after it ran ``code``."""
    done = run_python("-c", f"import sys\n{code}\nprint(*(set({modules}) & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
