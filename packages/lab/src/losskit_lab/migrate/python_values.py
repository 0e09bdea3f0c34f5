"""Python expressions as plain values, by reading their syntax tree: nothing is executed."""

from __future__ import annotations

import ast
import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from losskit.text import one_line

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

    def __str__(self) -> str:
        return f"{{{self.text}}}"


class Expressions:
    """Evaluator of expressions, with the names known so far.

    Attributes:
        values: what is assigned, by name.
        read: the names that other values were made of.
        base: the values of ``_base_``.
        base_read: the names of ``base`` that other values were made of.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.read: set[str] = set()
        self.base: dict[str, Any] = {}
        self.base_read: set[str] = set()

    def owner(self, node: ast.expr) -> Any:
        """Evaluate what is changed in place, or looked into: that does not use it up as a value."""
        before = set(self.read), set(self.base_read)
        found = self.value(node)
        self.read, self.base_read = before
        return found

    def value(self, node: ast.expr) -> Any:
        """The constant an expression stands for, or ``Unresolved``."""
        before = set(self.read)
        try:
            found = self._value(node)
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            found = Unresolved(ast.unparse(node), one_line(error) or type(error).__name__)
        if isinstance(found, Unresolved) and not isinstance(node, ast.Name):
            self.read = before  # what was not resolved used up nothing
        return found

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                if isinstance(value, _NO_CONFIG_VALUES):
                    return Unresolved(ast.unparse(node), "no value of a config")
                return value
            case ast.Name(id=name):
                if name in self.values:
                    self.read.add(name)
                    return self.values[name]
                return Unresolved(name, "not assigned in this file")
            case ast.List(elts=items):
                return self._items(items)
            case ast.Tuple(elts=items):
                return tuple(self._items(items))
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
            case (
                ast.Call(func=ast.Name(id="deepcopy" | "copy"), args=[source], keywords=[])
                | ast.Call(func=ast.Attribute(attr="deepcopy" | "copy"), args=[source], keywords=[])
                | ast.Call(func=ast.Attribute(value=source, attr="copy"), args=[], keywords=[])
            ):
                return copy.deepcopy(self._value(source))
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
                self.base_read.add(name)
                return self.base[name]
            case ast.Subscript(value=owner, slice=key) | ast.Attribute(value=owner, attr=key):
                index: Any = self._value(key) if isinstance(key, ast.expr) else key
                container = self.owner(owner)
                if isinstance(container, (dict, list, tuple, str)):
                    found = container[index]
                    if isinstance(found, (dict, list, tuple)):
                        self.value(owner)  # a whole part of it is used, not just a number
                    return found
            case ast.JoinedStr(values=parts):
                words = [
                    self._value(p.value if isinstance(p, ast.FormattedValue) else p) for p in parts
                ]
                spec = [p.format_spec for p in parts if isinstance(p, ast.FormattedValue)]
                plain = not any(spec)
                if plain and not any(isinstance(word, Unresolved) for word in words):
                    return "".join(map(str, words))
        return Unresolved(ast.unparse(node), "it would have to be run")

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            spread = self.value(node.value) if isinstance(node, ast.Starred) else None
            if isinstance(spread, (list, tuple)):
                items += spread
            else:
                items.append(self.value(node))
        return items

    def _mapping(self, items: list[tuple[Any, ast.expr]]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, node in items:
            value = self.value(node)
            if key is not None:
                result[key] = value
            elif isinstance(value, Unresolved):
                result[f"**{value.text}"] = value
            else:  # **other, or dict(other)
                result.update(value)
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
