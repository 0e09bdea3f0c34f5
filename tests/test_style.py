"""Style of docstrings: each summary begins with a verb or a noun, not with a question word."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
QUESTION = re.compile(r"(What|How|Where|Why|Whether|When|Which)\b")


def summaries() -> dict[str, str]:
    """First lines of all docstrings of the packages, private ones too, by file and line."""
    found = {}
    for path in sorted(ROOT.glob("packages/*/src/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                place = f"{path.relative_to(ROOT)}:{node.body[0].lineno}"
                found[place] = text.partition("\n")[0]
    return found


def test_no_docstring_begins_with_a_question_word() -> None:
    found = summaries()
    assert len(found) > 1000
    assert {place: text for place, text in found.items() if QUESTION.match(text)} == {}
