"""Checks of docstrings: what a user reads in ``help``, ``losskit show`` and the documentation."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import Any

from losskit.discovery.targets import resolve_target
from losskit.errors import LosskitError
from losskit.losses.base import Loss
from losskit.testing.case import LossCase, explained, fail_unless
from losskit.testing.checks import check

# How Sphinx writes a reference: "`l1_loss`" or ":func:`losskit.losses.pixel.l1_loss`". A class's docstring
# may lean on its function's.
_REFERENCE = re.compile(r"(?<![`\w])(:(?:py:)?\w+:)?`[~.]?([A-Za-z_]\w*(?:\.\w+)*)`(?!`)")
_SECTIONS = {
    "Returns": re.compile(r"^\s*(Returns|Yields):|^\s*Returns\s*\n\s*-{3}|:returns?:", re.M),
    "Raises": re.compile(r"^\s*Raises:|^\s*Raises\s*\n\s*-{3}|:raises\b", re.M),
}


@check("docstring")
def check_docstring(case: LossCase) -> None:
    """A loss whose arguments, range and errors are not written down is used wrongly: by people, silently."""
    text = documentation(case)
    own = inspect.getdoc(case.target) or ""
    fail_unless(
        bool(own.strip()) and own != (inspect.getdoc(Loss) or ""),
        f"{case.name} has no docstring",
        "write one: what it measures, Args, Returns, Raises",
    )
    names = [name for name in _arguments(case.target) if name not in ("self", "args", "kwargs")]
    for name in names:
        fail_unless(
            re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None,
            f"no docstring of {case.name} says what {name!r} is",
            "name it under Args, with its shape or range and its unit",
        )
    for section, pattern in _SECTIONS.items():
        fail_unless(
            pattern.search(text) is not None,
            f"the docstrings of {case.name} have no {section} section",
            f"add `{section}:` to the class, to forward, or to the function the class refers to "
            "as :func:`package.module.name`, or as `name` in its own module",
        )


def documentation(case: LossCase) -> str:
    """The docstrings of a loss: class, call, and the functions they refer to."""
    target = case.target
    texts = [inspect.getdoc(target) or ""]
    if inspect.isclass(target):
        for base in target.__mro__[:-1]:
            if base.__module__.startswith("torch.") or base is Loss:
                break
            for method in ("forward", "components", "__init__"):
                if method in vars(base):
                    texts.append(inspect.getdoc(vars(base)[method]) or "")
    module = inspect.getmodule(target)
    for role, name in dict.fromkeys(_REFERENCE.findall("\n".join(texts))):
        if hasattr(module, name):
            texts.append(inspect.getdoc(getattr(module, name)) or "")
        elif "." in name:
            doing = f"following {role}`{name}` in a docstring"
            # Without a role it may be code in Markdown, and name nothing.
            with explained(doing, "name what exists") if role else suppress(LosskitError):
                texts.append(inspect.getdoc(_named(name)) or "")
    return "\n".join(texts)


def _named(dotted: str) -> Any:
    """Resolve a dotted path, of which some leading parts name a module."""
    parts = dotted.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            return resolve_target(f"{'.'.join(parts[:split])}:{'.'.join(parts[split:])}")
        except LosskitError as error:
            failure = error
    raise failure


def _arguments(target: Any) -> list[str]:
    """Every argument of the constructor and of the call."""
    if not inspect.isclass(target):
        return list(inspect.signature(target).parameters)
    cls: Any = target
    call = cls.components if cls.forward is Loss.forward else cls.forward
    return [*inspect.signature(target.__init__).parameters, *inspect.signature(call).parameters]
