"""Methods for which compiled code leaves its graph.

PyTorch's own decorator imports the compiler, which takes seconds; here that waits until something is
compiled.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch

_T = TypeVar("_T")
_LEAVING: list[tuple[Any, str]] = []


def leaves_graph(*methods: str) -> Any:
    """Mark methods of the decorated class; compiled code asks ``must_be_one_graph`` before it calls one."""

    def mark(cls: type[_T]) -> type[_T]:
        _LEAVING.extend((cls, method) for method in methods)
        return cls

    return mark


def must_be_one_graph() -> bool:
    """Return whether the code being compiled may not leave its graph (``fullgraph=True``).

    While torch.compile traces, this is called for real, and marks the methods.

    PyTorch has no public way to ask. Where the private one is missing the answer is yes: staying in
    the graph always works, at the price of compiling more often.
    """
    while _LEAVING:
        cls, name = _LEAVING.pop()
        setattr(cls, name, torch.compiler.disable(getattr(cls, name)))
    try:
        from torch._dynamo.symbolic_convert import InstructionTranslator

        translator: Any = InstructionTranslator.current_tx()
        return bool(translator.one_graph or translator.error_on_graph_break)
    except (ImportError, AttributeError):
        return True


# All that torch.compiler.assume_constant_result does.
vars(must_be_one_graph)["_dynamo_marked_constant"] = True
