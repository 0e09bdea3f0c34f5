"""Developers' commands of a page, held against what each tool's own ``--help`` says."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path

#: Programs that developers run and whose work is not a page's to test, and whether they have sub-commands.
TOOLS = {"pytest": False, "mypy": False, "ruff": True, "twine": True, "towncrier": True}
#: Variables that the packages or the libraries under them read.
VARIABLES = ("TORCH_HOME", "HF_HOME", "HF_HUB_OFFLINE", "LOSSKIT_CACHE")
#: What an earlier command of a page makes.
_MADE = ("dist/", "docs/_build/")


def check_tool(words: Sequence[str], folder: Path) -> None:
    """Raise AssertionError where a tool lacks the sub-command or an option, or a file is not there.

    Args:
        words: the command, its program first; nothing of it is run but ``--help``.
        folder: where a reader runs it.
    """
    command, rest = list(words[:1]), list(words[1:])
    if TOOLS[command[0]]:
        assert rest, f"{command[0]} without a sub-command"
        known = re.search(rf"(?:^ +|[{{,]){re.escape(rest[0])}(?=[*\s,}}])", _help(*command), re.M)
        assert known, f"{command[0]} has no sub-command {rest[0]!r}"
        command.append(rest.pop(0))
    text, at = _help(*command), 0
    while at < len(rest):
        word = rest[at]
        at += 1
        if word.startswith("-"):
            name, given, _ = word.partition("=")
            takes_value = _takes_value(text, name)
            assert takes_value is not None, f"{' '.join(command)} has no option {name}"
            assert takes_value or not given, f"{' '.join(command)} {name} takes no value"
            at += takes_value and not given
        elif not word.startswith(_MADE):
            name = word.partition("::")[0]
            assert (folder / name).exists() or any(folder.glob(name)), f"there is no {name}"


def _takes_value(text: str, option: str) -> bool | None:
    """Whether a value follows an option, as its line of the help has it; ``None``: there is no such option."""
    named = rf"(?<![\w-]){re.escape(option)}(?![\w-])"
    for line in text.splitlines():
        declared = re.split(r"(?<=\S)  ", line.strip(), maxsplit=1)[0]
        if declared.startswith("-") and re.search(named, declared):
            return re.search(r"-[\w-]+(?:[ =]|\[=)[<\[{\w]", declared) is not None
    return None


def check_statements(source: str) -> None:
    """Raise where Python on a command line is no Python, or names what its modules have not."""
    for node in ast.walk(tree := ast.parse(source)):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            attrgetter(rest)(importlib.import_module(first))
    assert isinstance(tree.body[0], ast.Import), f"{source!r} imports nothing"


def check_variables(words: Sequence[str]) -> None:
    """Raise where a page exports a variable of the environment that nothing reads."""
    for word in words:
        name = word.partition("=")[0]
        assert name in VARIABLES, f"no variable {name} is known"


@cache
def _help(*command: str) -> str:
    """What a tool says of itself, where no project's configuration or conftest speaks too."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", *command, "--help"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, f"{' '.join(command)} --help: {done.stderr.strip()}"
    return done.stdout
