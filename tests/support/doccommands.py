"""Run the commands of a page, or look at them closely where running would take minutes or a network."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from doctools import TOOLS, check_statements, check_tool, check_variables
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: ``losskit train`` as a page has it, but for three steps.
TOY = (
    "steps=3",
    "data.batch_size=2",
    "logging.every=1",
    "logging.checkpoint_every=0",
    "logging.tensorboard=false",
    "logging.samples=4",
    "fabric.accelerator=cpu",
    "--quiet",
)
_OWN_PATHS = ("examples/", "packages/", "docs/", "benchmarks/", ".ci/")


@dataclass(frozen=True)
class Page:
    """Where a page lies; a page of a project of its own speaks of commands in that project's folder."""

    root: Path
    path: Path

    @property
    def folder(self) -> Path:
        """Where its commands start, below the temporary folder that holds a copy of the examples."""
        project = self.path.parent
        own = project.parent == self.root / "examples" and (project / "pyproject.toml").exists()
        return Path("examples", project.name) if own else Path()


def run_block(
    source: str, notes: Mapping[str, Sequence[str]], page: Page, *, console: bool
) -> None:
    """Run each command of a block, and compare what it prints with what the block says."""
    commands = list(_split(source, console=console))
    assert commands, "no command in the block"
    extra = dict(_pair(note) for note in notes.get("with", ()))
    unused = {start for start in extra if not any(c.startswith(start) for c, _ in commands)}
    assert not unused, f"no command of the block begins with {', '.join(unused)}"
    start = Path.cwd()
    runner = Runner(page, parse_only="parse" in notes)
    try:
        os.chdir(page.folder)
        for note in notes.get("pictures", ()):
            write_pictures(note.split())
        for command in notes.get("first", ()):
            Runner(page, parse_only=False)(command)
        for command, expected in commands:
            more = next((text for start, text in extra.items() if command.startswith(start)), "")
            printed = runner(f"{command.partition(' # ')[0]} {more}")
            if expected:
                assert printed is not None, f"the output of {command!r} is shown but not compared"
                compare(printed, expected, command)
    finally:
        os.chdir(start)


def _split(source: str, *, console: bool) -> list[tuple[str, str]]:
    """Commands and, in a console, what each prints."""
    source = source.replace("\\\n", " ")
    if console:
        lead = source.partition("$ ")[0]
        assert not lead.strip(), f"output without a command: {lead!r}"
        return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", source, re.MULTILINE)
    return [(line, "") for line in source.splitlines() if line.split("#")[0].strip()]


def _pair(note: str) -> tuple[str, str]:
    start, colon, text = note.partition(": ")
    assert colon, f"'with COMMAND: ARGUMENTS', not {note!r}"
    return start, text


def compare(printed: str, expected: str, command: str = "") -> None:
    """Each line must be printed, in this order."""
    rest = printed.splitlines()
    for line in filter(None, map(str.strip, expected.splitlines())):
        found = [index for index, one in enumerate(rest) if line in one]
        assert found, f"{command} does not print {line!r}, but {printed!r}"
        rest = rest[found[0] + 1 :]


def write_pictures(names: Sequence[str]) -> None:
    """Small photographs under these names; a name that ends in a slash is a folder of two."""
    from PIL import Image
    from skimage import data

    photographs = [Image.fromarray(data.astronaut()[:256, 96:352]), Image.fromarray(data.chelsea())]
    for number, name in enumerate(names):
        paths = [Path(name, f"{n}.png") for n in (1, 2)] if name.endswith("/") else [Path(name)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            photographs[number % 2].resize((48, 48)).save(path)


@dataclass(frozen=True)
class Runner:
    """Runs a command in this process, for speed; gives what it printed, None where it was only looked at."""

    page: Page
    parse_only: bool

    def __call__(self, command: str) -> str | None:
        """Run a line, its parts joined by ``&&`` too."""
        printed = [self._one(part) for part in command.split(" && ")]
        return None if None in printed else "".join(filter(None, printed))

    def _one(self, command: str) -> str | None:
        words = shlex.split(command, comments=True)
        words, sink = _redirected(words)
        if words[:2] == ["uv", "run"]:
            words = words[2:]
        if words[:2] == ["python", "-m"]:
            module, *arguments = words[2:]
            if module in TOOLS:
                return self._tool(module, arguments)
            return self._script(module, arguments, module=True)
        program, *arguments = words
        if program == "pip":
            return self._pip(arguments)
        if program == "cp":
            shutil.copy(*arguments)
            return ""
        if program == "cd":
            os.chdir(*arguments)
            return ""
        if program == "losskit":
            return self._losskit(arguments, sink)
        if self.parse_only and words[:2] == ["python", "-c"]:
            return check_statements(arguments[1])
        if self.parse_only and program == "export":
            return check_variables(arguments)
        if program == "python":
            return self._script(arguments[0], arguments[1:], module=False)
        if program in TOOLS:
            return self._tool(program, arguments)
        if self.parse_only and (program == "bash" or program.startswith(".ci/")):
            script = arguments[0] if program == "bash" else program
            assert (self.page.root / script).is_file(), f"there is no {script}"
            return None
        raise AssertionError(f"nothing tests a command of {program!r}: {command}")

    def _losskit(self, arguments: list[str], sink: str) -> str | None:
        from losskit.cli import main

        if self.parse_only:
            parse_losskit(arguments, self.page.root)
            return None
        if arguments[:1] == ["train"]:
            arguments = [*arguments, *TOY]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = main(arguments)
        assert code == 0, f"losskit {shlex.join(arguments)} gave {code}: {out.getvalue()}"
        if sink:
            Path(sink).write_text(out.getvalue(), encoding="utf-8")
        return out.getvalue()

    def _script(self, name: str, arguments: list[str], *, module: bool) -> str | None:
        if self.parse_only:
            path = self.page.root / name if name.startswith(_OWN_PATHS) else Path(name)
            assert module or path.is_file(), f"there is no {name}"
            return _options_of_script(path, arguments)
        folder = [] if module else [str(Path(name).parent.resolve())]
        with (
            mock.patch.object(sys, "argv", [name, *arguments]),
            mock.patch.object(sys, "path", [*folder, *sys.path]),
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            try:
                if module:
                    sys.modules.pop(name, None)  # which runpy warns of, where a test imported it
                    runpy.run_module(name, run_name="__main__", alter_sys=True)
                else:
                    runpy.run_path(name, run_name="__main__")
            except SystemExit as stop:
                if stop.code not in (0, None):
                    raise AssertionError(f"{name} ended with {stop.code}") from stop
        return out.getvalue()

    def _tool(self, name: str, arguments: Sequence[str]) -> None:
        files = (self.page.root / "pyproject.toml", Path("pyproject.toml"))
        declared = {n for file in files if file.exists() for n in _declared(file)}
        assert name in declared, f"{name} is in no group of development tools"
        check_tool([name, *arguments], self.page.root / self.page.folder)

    def _pip(self, words: list[str]) -> None:
        assert words[0] == "install", f"pip {words[0]}"
        root = self.page.root
        files = [*root.glob("packages/*/pyproject.toml"), *root.glob("examples/*/pyproject.toml")]
        projects = {project["name"]: project for project in map(_project, files)}
        others = {"uv"}.union(*map(_declared, (root / "pyproject.toml", *files)))
        for word in words[1:]:
            if word == "-e":
                continue
            if word.startswith("."):
                place, _, extra = word.removesuffix("]").partition("[")
                found = _project(Path(place, "pyproject.toml"))
                assert not extra or extra in found["optional-dependencies"], word
                continue
            need = Requirement(word)
            name = canonicalize_name(need.name)
            if name in projects:
                extras = set(projects[name].get("optional-dependencies", {}))
                assert need.extras <= extras, f"{name} has no extra {need.extras - extras}"
            else:
                assert name in others, f"{word} is neither ours nor a dependency of ours"


def _redirected(words: list[str]) -> tuple[list[str], str]:
    if ">" in words:
        at = words.index(">")
        return words[:at], words[at + 1]
    return words, ""


def _project(file: Path) -> dict[str, Any]:
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["project"])


def _declared(file: Path) -> set[str]:
    """Names of everything a project asks for, in any extra or group."""
    config = tomllib.loads(file.read_text(encoding="utf-8"))
    project = config["project"]
    lists = [
        project.get("dependencies", []),
        *project.get("optional-dependencies", {}).values(),
        *config.get("dependency-groups", {}).values(),
    ]
    return {
        canonicalize_name(Requirement(item).name)
        for items in lists
        for item in items
        if isinstance(item, str)
    }


def parse_losskit(arguments: list[str], root: Path) -> argparse.Namespace:
    """Parse as the command would; a config's overrides are checked with the config, files are looked for."""
    from losskit.cli.dispatch import BUILT_IN, _parsed, _plugin_command

    name, *rest = arguments
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            if name in BUILT_IN:
                module, _, attribute = BUILT_IN[name][0].partition(":")
                configure = getattr(importlib.import_module(module), attribute)
            else:
                configure, *_ = _plugin_command(name)
            parser = argparse.ArgumentParser(prog=f"losskit {name}")
            configure(parser)
            parsed = _parsed(parser, rest)
    except SystemExit as stop:
        line = complaint.getvalue().strip().splitlines()[-1:]
        raise AssertionError(f"losskit {shlex.join(arguments)}: {' '.join(line)}") from stop
    for word in rest:
        if word.startswith(_OWN_PATHS) and not word.startswith("docs/_extra"):
            assert (root / word).exists(), f"there is no {word}"
    if name == "train" and parsed.config is not None:
        from losskit_train.cli import _overrides
        from losskit_train.config.training import load_train_config

        load_train_config(parsed.config, _overrides(parsed))
    if [name, *rest[:1]] == ["weights", "pull"]:
        from losskit.discovery.registry import list_weights

        unknown = set(rest[1:]) - {spec.name for spec in list_weights()}
        assert not unknown, f"no plugin has the weights {', '.join(unknown)}"
    return parsed


def _options_of_script(path: Path, arguments: Sequence[str]) -> None:
    """A script's parser is inside its ``main``; what can be said without running it: it has the options."""
    text = path.read_text(encoding="utf-8") if path.suffix else ""
    for option in (word.partition("=")[0] for word in arguments if word.startswith("--")):
        assert f'"{option}"' in text, f"{path} has no option {option}"
