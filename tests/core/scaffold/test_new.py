"""``losskit new``: the package it writes is complete, and right as written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from losskit.cli import main
from losskit.errors import ConfigError
from losskit.scaffold import Names, write_plugin
from losskit.scaffold.writer import FILES

ROOT = Path(__file__).parents[3]
LOSSKIT = (sys.executable, "-c", "import losskit.cli; raise SystemExit(losskit.cli.main())")


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"__pycache__", ".ruff_cache", ".mypy_cache"} & set(path.parts)
    }


def test_the_example_in_the_repository_is_what_it_writes(tmp_path: Path) -> None:
    """To mend it: losskit new example --author "The losskit developers" --dir examples."""
    written = write_plugin("example", tmp_path, author="The losskit developers")
    assert _files(ROOT / "examples" / "losskit-example") == _files(written)


def test_the_command_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "demo-loss", "--dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "demo_loss/DemoLoss" in out
    assert "losskit check demo_loss" in out
    assert len(_files(tmp_path / "losskit-demo-loss")) == len(FILES)


@pytest.mark.parametrize(
    ("name", "distribution", "package", "loss", "function"),
    [
        ("demo-loss", "losskit-demo-loss", "losskit_demo_loss", "DemoLoss", "demo_loss"),
        ("losskit-demo_loss", "losskit-demo-loss", "losskit_demo_loss", "DemoLoss", "demo_loss"),
        ("Wavelet", "losskit-wavelet", "losskit_wavelet", "WaveletLoss", "wavelet_loss"),
        ("edge aware", "losskit-edge-aware", "losskit_edge_aware", "EdgeAwareLoss", "edge_aware_loss"),
    ],
)  # fmt: skip
def test_one_name_decides_all(
    name: str, distribution: str, package: str, loss: str, function: str
) -> None:
    names = Names.parse(name)
    assert (names.distribution, names.package) == (distribution, package)
    assert (names.loss_class, names.function) == (loss, function)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gan", "reserved"),
        ("losskit-core", "reserved"),
        ("loss", "too plain"),
        ("1st", "cannot name a plugin"),
        ("../evil", "cannot name a plugin"),
        ("", "cannot name a plugin"),
        ("größe", "cannot name a plugin"),
        ("x" * 41, "too long"),
    ],
)
def test_names_that_cannot_be_used_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plugin("demo-loss", tmp_path)
    losses = tmp_path / "losskit-demo-loss" / "src" / "losskit_demo_loss" / "losses.py"
    losses.write_text("mine")
    assert main(["new", "demo-loss", "--dir", str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert losses.read_text() == "mine"


def test_the_author_is_written_as_toml_whatever_the_name(tmp_path: Path) -> None:
    root = write_plugin("demo-loss", tmp_path, author='Zoë "Z" \\ <zoe@example.org>')
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    (author,) = project["authors"]
    assert author["email"] == "zoe@example.org"
    assert "Zoë" in author["name"]
    assert author["name"] in (root / "LICENSE").read_text()


@pytest.mark.parametrize("length", [3, 12, 26, 40])
def test_ruff_is_content_with_names_of_any_length(length: int, tmp_path: Path) -> None:
    root = write_plugin("ab-" + "c" * (length - 3) if length > 3 else "abc", tmp_path)
    ruff = (sys.executable, "-m", "ruff")
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        done = subprocess.run([*ruff, *command, root], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="building the wheel needs uv")
def test_from_nothing_to_a_conforming_wheel(tmp_path: Path) -> None:
    _run([*LOSSKIT, "new", "demo-loss", "--author", "Ada Lovelace"], tmp_path)
    package = tmp_path / "losskit-demo-loss"
    _run(["uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", package], tmp_path)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    # An environment of its own with torch would take minutes: a folder on the path does as well,
    # since plugins are found through the metadata in it.
    site = tmp_path / "site"
    _run(["uv", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], tmp_path)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    report = _run([*LOSSKIT, "check", "demo_loss"], tmp_path, PYTHONPATH=path)
    assert "✓ demo_loss: 5 of 5 checks passed" in report
    assert "✓ demo_loss/DemoLoss: 25 of 25 checks passed" in report
    # What the package's own CI would run, at once; the kit has been run above.
    cache = ROOT / ".mypy_cache" / "scaffold"  # torch's part of it is worth keeping
    commands = {
        "mypy": [sys.executable, "-m", "mypy", "--cache-dir", str(cache)],
        "pytest": [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/test_losses.py",
        ],
        "conformance": [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "tests/test_conformance.py",
        ],
    }
    running = {
        name: subprocess.Popen(
            command,
            cwd=package,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, command in commands.items()
    }
    for name, process in running.items():
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, f"{name}: {output}"


def _run(command: list[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
