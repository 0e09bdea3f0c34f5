"""Every block of the authoring guide is run: files are written, Python executed, commands called."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

import losskit
from losskit.cli import main
from losskit.discovery.entry_points import RESERVED
from losskit.discovery.loading import Status
from losskit.testing import PluginSandbox, losskit_plugins  # noqa: F401 - a fixture

GUIDE = Path(__file__).parents[3] / "docs" / "authoring.md"
FILE = re.compile(r"# (src/losskit_wavelet/\w+\.py)( \(all of it\))?\n")
ELSEWHERE = ("pip install", "python -m build", "twine upload")  # not ours to test


class Author:
    """Does what the guide says, block after block."""

    def __init__(self, plugins: PluginSandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.plugins = plugins
        self.capsys = capsys
        self.namespace: dict[str, Any] = {"pytest": pytest, "__name__": "guide"}

    def python(self, source: str) -> None:
        match = FILE.match(source)
        if match is None:
            exec(compile(source, str(GUIDE), "exec"), self.namespace)
            return
        path = Path("losskit-wavelet") / match[1]
        before = "" if match[2] or not path.exists() else path.read_text()
        path.write_text(before + "\n\n" + source)
        forget_package()
        losskit.refresh()

    def console(self, source: str) -> None:
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", source, re.M):
            if command.startswith("pip install -e './losskit-wavelet"):
                sys.path.insert(0, str(Path("losskit-wavelet", "src").resolve()))
                self.plugins.install("wavelet", "losskit_wavelet.plugin")
            if command.startswith(ELSEWHERE):
                continue
            program, *arguments = shlex.split(command)
            assert program == "losskit", f"no test runs {command!r}"
            assert main(arguments) == 0, command
            printed = self.capsys.readouterr().out
            for line in expected.splitlines():
                assert line in printed, f"{command} printed {printed!r}"


def forget_package() -> None:
    for name in [name for name in sys.modules if name.startswith("losskit_wavelet")]:
        del sys.modules[name]


@pytest.fixture
def author(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    losskit_plugins: PluginSandbox,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Author]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change within a second
    yield Author(losskit_plugins, capsys)
    forget_package()


def blocks(languages: tuple[str, ...]) -> list[tuple[str, str, int]]:
    """Language, source and line of the guide's blocks, in order."""
    found: list[tuple[str, str, int]] = []

    def keep(language: str) -> Any:
        def evaluate(example: Example) -> None:
            found.append((language, str(example.parsed), example.line))

        return evaluate

    sybil = Sybil(parsers=[CodeBlockParser(language, keep(language)) for language in languages])
    for example in sybil.parse(GUIDE).examples():
        example.evaluate()
    return found


def test_the_guide_does_what_it_says(
    author: Author,
    monkeypatch: pytest.MonkeyPatch,
    losskit_plugins: PluginSandbox,  # noqa: F811
) -> None:
    for language, source, line in blocks(("python", "console")):
        try:
            author.python(source) if language == "python" else author.console(source)
        except BaseException as error:
            error.add_note(f"in the block at line {line} of {GUIDE.name}")
            raise
    # The tests that the guide defines are tests, too.
    conformance = author.namespace["test_conformance"]
    (mark,) = conformance.pytestmark
    assert {p.id.partition(":")[0] for p in mark.args[1]} == {
        "wavelet", "wavelet/WaveletLoss", "wavelet/HaarLoss",
    }  # fmt: skip
    author.namespace["test_two_losses_of_one_name"](losskit_plugins)


def test_no_block_of_the_guide_is_left_out() -> None:
    fences = re.findall(r"^```(\w*)$", GUIDE.read_text(), re.M)
    assert {fence for fence in fences if fence} == {"python", "console"}
    assert len(blocks(("python", "console"))) == len(fences) / 2


def test_the_statuses_in_the_guide_are_those_there_are() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \|", GUIDE.read_text(), re.M)
    assert set(told) == set(get_args(Status))


def test_the_reserved_names_in_the_guide_are_those_there_are() -> None:
    (line,) = re.findall(r"The namespaces (.*?) are taken", GUIDE.read_text(), re.S)
    assert set(re.findall(r"`(\w+)`", line)) == set(RESERVED)
