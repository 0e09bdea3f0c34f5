"""The list of checks: every one has an id, says why it is there, and how to mend what it finds."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from losskit.testing.case import CheckFailed, ExpectedFailure

Scope: TypeAlias = Literal["plugin", "loss"]

#: Modules that hold checks, in the order they are run: cheap and fundamental ones first.
_MODULES = (
    "plugin_checks",
    "declaration",
    "documents",
    "values",
    "gradients",
    "dtypes",
    "robustness",
)
_CHECKS: list[Check] = []


@dataclass(frozen=True, slots=True)
class Check:
    """One thing a plugin or a loss must do.

    Args:
        id: short and stable; what ``--only`` and ``expected_failures`` call it.
        scope: what it is run on: a whole plugin, or each of its losses.
        function: takes a `PluginCase` or a `LossCase` and raises where something is wrong.
        case: what to run on; ``None`` until it is bound to a plugin or loss.
    """

    id: str
    scope: Scope
    function: Callable[[Any], None]
    case: Any = None

    @property
    def why(self) -> str:
        """Reason for the check: the first paragraph of its function's docstring, on one line."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n\n")[0].split())

    def __call__(self) -> None:
        """Run it.

        Raises:
            CheckFailed: something is wrong; the message says how to mend it.
            NotApplicable: the check says nothing about this loss.
            ExpectedFailure: it fails, and the loss's example says why it must.
        """
        try:
            self.function(self.case)
        except CheckFailed as failure:
            reason = self._expected()
            if reason:
                raise ExpectedFailure(reason) from failure
            raise
        if self._expected():
            raise CheckFailed(
                f"{self} passes, though Example.expected_failures names it. To mend it: take it off"
            )

    def _expected(self) -> str:
        if self.scope == "plugin":
            return ""
        return str(self.case.expected_failures.get(self.id, ""))

    def __str__(self) -> str:
        return self.id if self.case is None else f"{self.case.name}:{self.id}"


def check(
    name: str, *, scope: Scope = "loss"
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Put a function into the list of checks."""

    def decorate(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _CHECKS.append(Check(name, scope, function))
        return function

    return decorate


def all_checks() -> tuple[Check, ...]:
    """Every check of the kit, not yet bound to a plugin or loss."""
    for module in _MODULES:
        importlib.import_module(f"losskit.testing.{module}")
    order = [f"losskit.testing.{module}" for module in _MODULES]
    return tuple(sorted(_CHECKS, key=lambda item: order.index(item.function.__module__)))
