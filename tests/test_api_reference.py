"""The API reference is whole, and a reference in a docstring that leads nowhere fails its build."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs" / "api").glob("*.rst"))}
MODULES = [
    path
    for path in sorted(ROOT.glob("packages/*/src/**/*.py"))
    if "templates" not in path.relative_to(ROOT).parts
]
#: A name in single backticks, outside of literals and of longer markup.
REFERENCE = re.compile(r"(?<![`\\\w:])`([^`]+)`(?![`\w])")


def exporting_packages() -> dict[str, Path]:
    """Packages whose `__init__` exports names."""
    found = {}
    for path in MODULES:
        names = re.search(r"^__all__\b[^\n=]*= \[(.*?)\]", path.read_text(), re.S | re.M)
        if path.name == "__init__.py" and names and names[1].strip():
            relative = path.parent.relative_to(ROOT / "packages")
            found[".".join(relative.parts[2:])] = path
    return found


def docstrings() -> dict[str, str]:
    """Every docstring of every package, by file and line."""
    found = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                found[place] = ast.get_docstring(node) or ""
    return found


def test_each_package_that_exports_names_has_a_page() -> None:
    described = re.findall(r"^\.\. automodule:: (\S+)", "\n".join(PAGES.values()), re.M)
    assert len(exporting_packages()) >= 12
    assert set(exporting_packages()) - set(described) == set()
    assert len(described) == len(set(described))


def test_index_names_each_page() -> None:
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    assert {name for name in PAGES if f"({name})" not in index} == set()


def test_references_are_names() -> None:
    """Also in docstrings that no page shows: arguments and code have double backticks."""
    defined = {
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    faults = [
        f"{place}: {name}"
        for place, text in docstrings().items()
        for name in REFERENCE.findall(re.sub(r"``.*?``", "", text, flags=re.S))
        if name.rpartition(".")[2] not in defined
    ]
    assert faults == []


def test_no_docstring_links_as_another_tool_reads_it() -> None:
    assert [place for place, text in docstrings().items() if re.search(r"`\]\[", text)] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("l1_loss", ""), ("no_such_loss", "'any' reference target not found: no_such_loss")],
)
def test_a_broken_reference_fails_the_build(tmp_path: Path, name: str, message: str) -> None:
    pytest.importorskip("sphinx")
    conf = (ROOT / "docs" / "conf.py").read_text()
    (role,) = re.findall(r"^default_role = .*$", conf, re.M)
    (tmp_path / "conf.py").write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / 'docs' / '_ext')!r}]\n"
        f"extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'docstrings']\n{role}\n"
    )
    (tmp_path / "subject.py").write_text(
        f'def l1_loss(x):\n    """The distance $|x|$.\n\n    Args:\n        x: see `{name}`.\n    """\n'
    )
    (tmp_path / "index.rst").write_text("x\n=\n\n.. automodule:: subject\n   :members:\n")
    command = ["-m", "sphinx", "-W", "-q", "-b", "html", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert message in done.stderr
    assert (done.returncode == 0) == (message == ""), done.stderr
