"""Each package's wheel installs alone, beside the core only, and lists its losses there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "gan", "train", "perceptual", "clip", "identity")
# Discovery needs no more than this; torch stays out, so the environments are small and quick.
DISCOVERY_NEEDS = ("pluggy", "pyyaml")

pytestmark = pytest.mark.skipif(shutil.which("uv") is None, reason="building wheels needs uv")


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    built = {}
    for name in PACKAGES:
        out = folder / name
        _run("uv", "build", "--quiet", "--wheel", "--out-dir", out, ROOT / "packages" / name)
        (built[name],) = out.glob("*.whl")
    return built


@pytest.mark.parametrize("name", PACKAGES)
def test_wheel_lists_its_losses_in_a_clean_environment(
    name: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    _run("uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    wanted = {wheels["core"], wheels[name]}
    _run(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--no-deps",
        *wanted,
        *DISCOVERY_NEEDS,
    )
    command = tmp_path / "env" / "bin" / "losskit"
    losses = json.loads(_run(command, "list", "--json"))["losses"]
    supplying = {"core", name} - {"train"}  # which has commands, and no losses
    assert {loss["plugin"] for loss in losses} == supplying
    records = json.loads(_run(command, "plugins", "--json"))["plugins"]
    assert {record["status"] for record in records} == {"ok"}


@pytest.mark.parametrize("name", PACKAGES)
def test_wheel_is_complete(name: str, wheels: dict[str, Path]) -> None:
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    files = zipfile.ZipFile(wheels[name]).namelist()
    assert any(file.endswith("py.typed") for file in files)
    assert any("licenses/LICENSE" in file for file in files)
    metadata = next(file for file in files if file.endswith("METADATA"))
    text = zipfile.ZipFile(wheels[name]).read(metadata).decode()
    assert f"Version: {project['version']}" in text
    assert "Requires-Python: >=3.11" in text
    sources = {p.name for p in (ROOT / "packages" / name / "src").rglob("*") if p.is_file()}
    missing = {s for s in sources if not s.endswith(".pyc")} - {Path(f).name for f in files}
    assert not missing
