"""The networks that a discriminator given as a function calls: ``lambda images: net(images, labels)``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from losskit.backbones import uncompiled


@uncompiled
def networks_in(function: Any) -> list[nn.Module]:
    """A network itself, or those that a function, method or partial is seen to name.

    A function names what it has closed over, globals, and attributes of both and of what it is bound
    to. What it finds by other ways (a list, a dict, another object's method) is not seen; what it names
    and does not call is.
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        candidate = waiting.pop()
        if id(candidate) in seen:
            continue
        seen.add(id(candidate))
        if isinstance(candidate, nn.Module):
            found[id(candidate)] = candidate
        elif isinstance(candidate, MethodType):
            waiting.append(candidate.__self__)
            if isinstance(candidate.__func__, FunctionType):
                waiting += _named_by(candidate.__func__, candidate.__self__)
        elif isinstance(candidate, partial):
            waiting += [candidate.func, *candidate.args, *candidate.keywords.values()]
        elif isinstance(candidate, FunctionType):
            waiting += _named_by(candidate)
        elif candidate is function and isinstance(getattr(candidate, "__call__", None), MethodType):  # noqa: B004
            waiting.append(candidate.__call__)
    return list(found.values())


def _named_by(function: FunctionType, *bound_to: Any) -> Iterator[Any]:
    names, scope = _names(function.__code__), function.__globals__
    owners = [scope[name] for name in names if name in scope]
    # A function of another file is a library's, which calls what it is given.
    owners = [o for o in owners if not isinstance(o, FunctionType) or o.__globals__ is scope]
    for cell in function.__closure__ or ():
        try:
            owners.append(cell.cell_contents)
        except ValueError:  # not bound yet
            continue
    yield from owners
    for owner in (*owners, *bound_to):
        if not isinstance(owner, (nn.Module, FunctionType, ModuleType, type)):
            try:
                attributes = vars(owner)
            except Exception:  # has none, or stands for something that is not there
                continue
            yield from (attributes[name] for name in names if name in attributes)


def _names(code: CodeType) -> tuple[str, ...]:
    """List the names in a function's code, and in the functions and comprehensions inside it."""
    inner = (
        names for const in code.co_consts if isinstance(const, CodeType) for names in _names(const)
    )
    return (*code.co_names, *inner)
