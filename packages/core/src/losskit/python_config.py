"""Python config files as plain values, by reading their syntax tree: nothing is executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losskit.errors import LosskitError
from losskit.spec import one_line

_LARGEST = 1_000_000  # items of a repeated sequence; a config needs no more
_LARGEST_EXPONENT = 1024
_NO_CONFIG_VALUES = (complex, bytes, type(...))  # constants that YAML does not hold
_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An expression that is no constant: its source text, and why."""

    text: str
    why: str


@dataclass(slots=True)
class PythonConfig:
    """The values a config file assigns, and notes on what was passed over."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_python_config(path: Path, _open: tuple[Path, ...] = ()) -> PythonConfig:
    """Read a config and the files its ``_base_`` names.

    Constants, containers, ``dict(...)``, arithmetic, names assigned before, subscripts, f-strings
    and conditional expressions are resolved. All else becomes [`Unresolved`][losskit.python_config.Unresolved]
    where it stands, and statements that would have to be run are noted.

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
    base = reader.base
    own = {k: v for k, v in reader.config.values.items() if not k.startswith("_")}
    reader.config.values = merged(base, own)
    return reader.config


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


class _Reader:
    """Statement by statement, with the names known so far."""

    def __init__(self, path: Path, opened: tuple[Path, ...]) -> None:
        self.path = path
        self.opened = opened
        self.config = PythonConfig()
        self.base: dict[str, Any] = {}

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id="_base_")], value=value):
                names = self.value(value)
                for name in names if isinstance(names, (list, tuple)) else [names]:
                    if isinstance(name, str):
                        self.inherit(self.path.parent / name, name)
                    else:
                        words = name.text if isinstance(name, Unresolved) else repr(name)
                        self.remark(value, f"the base {words:.70} names no file known here")
            case ast.Assign(targets=targets, value=value):
                found = self.value(value)
                if False in [self.assign(target, found) for target in targets]:
                    self.note(node)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                if not self.assign(target, self.value(value)):
                    self.note(node)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                self.config.values[name] = self.value(ast.BinOp(ast.Name(name), op, value))
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=owner, attr="update" | "merge" as how), args=[value]
                )
            ):
                below, over = self.value(owner), self.value(value)
                if isinstance(below, dict) and isinstance(over, Mapping):
                    below.update(over if how == "update" else merged(below, over))
                else:
                    self.note(node)
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))],
                body=body,
            ):
                for item in body:
                    if isinstance(item, ast.ImportFrom):
                        folder = self.path.parents[max(0, item.level - 1)]
                        name = (item.module or "").replace(".", "/") + ".py"
                        self.inherit(folder / name, name)
                        self.config.values.update(self.base)
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                self.note(node)

    def note(self, node: ast.stmt) -> None:
        words = ast.unparse(node).splitlines()[0]
        self.config.notes.append(f"line {node.lineno} was not run: {words:.70}")

    def remark(self, node: ast.expr, words: str) -> None:
        """Losses may hide in what was passed over, so it is said where that was."""
        self.config.notes.append(f"line {node.lineno}: {words}: its losses are missing here")

    def inherit(self, path: Path, name: str) -> None:
        if not path.is_file():
            self.config.notes.append(f"the base {name} is not there: its losses are missing here")
            return
        found = read_python_config(path, self.opened)
        self.base = merged(self.base, found.values)
        self.config.notes += [f"{path.name}: {note}" for note in found.notes]

    def assign(self, target: ast.expr, value: Any) -> bool:
        """Whether the target was understood."""
        match target:
            case ast.Name(id=name):
                self.config.values[name] = value
                return True
            case ast.Subscript(value=owner, slice=key) | ast.Attribute(value=owner, attr=key):
                container = self.value(owner)
                index = self.value(key) if isinstance(key, ast.expr) else key
                if isinstance(container, dict) and isinstance(index, (str, int)):
                    container[index] = value
                    return True
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if isinstance(value, (list, tuple)) and len(value) == len(targets):
                    pairs = zip(targets, value, strict=True)
                    return False not in [self.assign(part, item) for part, item in pairs]
        return False

    def value(self, node: ast.expr) -> Any:
        """The constant an expression stands for, or ``Unresolved``."""
        try:
            return self._value(node)
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            return Unresolved(ast.unparse(node), one_line(error) or type(error).__name__)

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                if isinstance(value, _NO_CONFIG_VALUES):
                    return Unresolved(ast.unparse(node), "no value of a config")
                return value
            case ast.Name(id=name):
                if name in self.config.values:
                    return self.config.values[name]
                return Unresolved(name, "not assigned in this file")
            case ast.List(elts=items):
                return [self.value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.Set(elts=[ast.Set(elts=[inner])]):  # {{_base_.name}}
                return self.value(inner)
            case ast.Dict(keys=keys, values=values):
                return self._mapping(
                    [
                        (None if k is None else self._value(k), v)
                        for k, v in zip(keys, values, strict=True)
                    ]
                )
            case ast.Call(func=ast.Name(id="dict"), args=args, keywords=keywords) if len(args) < 2:
                start = [(None, arg) for arg in args]
                return self._mapping([*start, *((k.arg, k.value) for k in keywords)])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return operator.neg(self._value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._operation(self._value(left), op, self._value(right))
            case ast.IfExp(test=test, body=body, orelse=other):
                condition = self._value(test)
                if isinstance(condition, Unresolved):
                    return Unresolved(ast.unparse(node), condition.why)
                return self._value(body if condition else other)
            case ast.Attribute(value=ast.Name(id="_base_"), attr=name):
                return self.base[name]
            case ast.Subscript(value=owner, slice=key) | ast.Attribute(value=owner, attr=key):
                index: Any = self._value(key) if isinstance(key, ast.expr) else key
                container = self._value(owner)
                if isinstance(container, (dict, list, tuple, str)):
                    return container[index]
            case ast.JoinedStr(values=parts):
                words = [
                    self._value(p.value if isinstance(p, ast.FormattedValue) else p) for p in parts
                ]
                plain = all(isinstance(p, ast.Constant) or p.format_spec is None for p in parts)  # type: ignore[attr-defined]
                if plain and not any(isinstance(word, Unresolved) for word in words):
                    return "".join(map(str, words))
        return Unresolved(ast.unparse(node), "it would have to be run")

    def _mapping(self, items: list[tuple[Any, ast.expr]]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, node in items:
            value = self.value(node)
            if isinstance(value, Unresolved) and key is None:
                self.remark(node, f"{value.text:.70} was not read ({value.why})")
            elif isinstance(key, Unresolved):
                self.remark(node, f"the key {key.text:.70} was not read ({key.why})")
            elif key is None:  # **other, or dict(other)
                result.update(value)
            else:
                result[key] = value
        return result

    def _operation(self, left: Any, op: ast.operator, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, Unresolved):
                raise ValueError(f"{side.text}: {side.why}")
        if isinstance(op, ast.Pow):
            if isinstance(left, int) and abs(left) > 1 and right > _LARGEST_EXPONENT:
                raise ValueError("too large")
            power = left**right
            if isinstance(power, complex):
                raise ValueError("no real number")
            return power
        for sequence, times in ((left, right), (right, left)):
            repeats = isinstance(op, ast.Mult) and isinstance(sequence, (str, list, tuple))
            if repeats and isinstance(times, int) and len(sequence) * times > _LARGEST:
                raise ValueError("too long")
        return _OPERATIONS[type(op)](left, right)
