"""Python config files as plain values, by reading their syntax tree: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losskit.errors import LosskitError
from losskit.text import one_line
from losskit_lab.migrate.python_values import Expressions, Unresolved

#: How a note ends on a part of a config that could not be read and may hold losses.
MISSING = "its losses are missing here"


@dataclass(frozen=True, slots=True)
class Note:
    """Remark on code that was passed over: a line to print, and the source text it is about."""

    words: str
    source: str

    def __str__(self) -> str:
        return self.words


@dataclass(slots=True)
class PythonConfig:
    """Content of a config file.

    Args:
        values: what it assigns, by name; those of its bases are merged in.
        notes: on what was passed over.
        read: the names that other values were made of.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    read: set[str] = field(default_factory=set)


def read_python_config(path: Path, _open: tuple[Path, ...] = ()) -> PythonConfig:
    """Read a config and the files its ``_base_`` names.

    Constants, containers, ``dict(...)``, copies, arithmetic, names assigned before, subscripts,
    f-strings and conditional expressions are resolved. All else becomes
    `Unresolved` where it stands (``**more()`` under its own text
    as the key), and statements that would have to be run are noted.

    Args:
        path: the file.

    Raises:
        LosskitError: the file cannot be read, is no Python, or names itself as a base.
    """
    path = path.resolve()
    if path in _open:
        raise LosskitError(f"{path.name} is a _base_ of itself")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LosskitError(f"cannot read {path}: {error.strerror or error}") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise LosskitError(f"{path} is no Python: {one_line(error)}") from error
    reader = _Reader(path, (*_open, path))
    try:
        for statement in tree.body:
            reader.statement(statement)
    except RecursionError as error:
        raise LosskitError(f"{path} is nested too deeply to read") from error
    own = {k: v for k, v in reader.values.items() if not k.startswith("_")}
    return PythonConfig(merged(reader.base, own), reader.notes, reader.read | reader.base_read)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """OpenMMLab's inheritance: dicts merge key by key unless ``_delete_`` is set, all else replaces."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not value.get("_delete_"):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


class _Reader(Expressions):
    """Statement by statement, with the names known so far."""

    def __init__(self, path: Path, opened: tuple[Path, ...]) -> None:
        super().__init__()
        self.path = path
        self.opened = opened
        self.notes: list[Note] = []
        self.lazy = False  # the newer style, in which update() merges

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id="_base_")], value=value):
                names = self.value(value)
                for name in names if isinstance(names, (list, tuple)) else [names]:
                    if isinstance(name, str):
                        self.inherit(self.path.parent / name, name)
                    else:
                        words = name.text if isinstance(name, Unresolved) else repr(name)
                        self.notes.append(
                            Note(
                                f"line {node.lineno}: the base {words:.70} names no file known here: "
                                f"{MISSING}",
                                f"_base_ = {words}",
                            )
                        )
            case ast.Assign(targets=targets, value=value):
                found = self.value(value)
                if False in [self.assign(target, found) for target in targets]:
                    self.note(node)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                if not self.assign(target, self.value(value)):
                    self.note(node)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.assign(ast.Name(name), self.value(ast.BinOp(ast.Name(name), op, value)))
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=owner, attr="update" | "merge" as how),
                    args=args,
                    keywords=keywords,
                )
            ) if len(args) < 2:
                if self.lazy and isinstance(owner, ast.Name):  # of a base that is not there
                    self.values.setdefault(owner.id, {})
                below = self.owner(owner)
                over = self.value(ast.Call(ast.Name("dict"), args, keywords))
                if isinstance(below, dict) and isinstance(over, Mapping):
                    merge = how == "merge" or self.lazy
                    below.update(merged(below, over) if merge else over)
                else:
                    self.note(node)
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))],
                body=body,
            ):
                self.lazy = True
                for item in body:
                    if isinstance(item, ast.ImportFrom):
                        self.inherit(*self.imported(item))
                        self.values.update(self.base)
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                self.note(node)

    def note(self, node: ast.stmt) -> None:
        source = ast.unparse(node)
        words = f"line {node.lineno} was not run: {source.splitlines()[0]:.70}"
        self.notes.append(Note(words, source))

    def imported(self, node: ast.ImportFrom) -> tuple[Path, str]:
        """The file that a relative import names, or an absolute one, from a folder above."""
        name = (node.module or "").replace(".", "/") + ".py"
        if node.level:
            return self.path.parents[min(node.level, len(self.path.parents)) - 1] / name, name
        above = (folder / name for folder in self.path.parents)
        return next(filter(Path.is_file, above), self.path.parent / name), name

    def inherit(self, path: Path, name: str) -> None:
        if not path.is_file():
            words = f"the base {name} is not there: {MISSING}"
            self.notes.append(Note(words, f"_base_ = {name}"))
            return
        found = read_python_config(path, self.opened)
        self.base = merged(self.base, found.values)
        self.base_read |= found.read
        self.notes += [Note(f"{path.name}: {n}", n.source) for n in found.notes]

    def assign(self, target: ast.expr, value: Any) -> bool:
        """Assign a value to a target, and return whether the target was understood."""
        match target:
            case ast.Name(id=name):
                self.values[name] = value
                self.read.discard(name)
                return True
            case ast.Subscript(value=owner, slice=key) | ast.Attribute(value=owner, attr=key):
                container = self.owner(owner)
                index = self.value(key) if isinstance(key, ast.expr) else key
                if isinstance(container, dict) and isinstance(index, (str, int)):
                    container[index] = value
                    return True
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if isinstance(value, (list, tuple)) and len(value) == len(targets):
                    pairs = zip(targets, value, strict=True)
                    return False not in [self.assign(part, item) for part, item in pairs]
        return False
