"""What autodoc and napoleon do not expect of our docstrings and signatures."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.util.inspect import signature as signature_of
from sphinx.util.inspect import stringify_signature

from losskit import Loss

# A literal is passed over, so that a dollar in it stays one.
_LITERAL_OR_MATH = re.compile(r"(``.+?``)|\$([^$]+)\$", re.DOTALL)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _without_types, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _math_as_roles)
    app.connect("autodoc-process-signature", _readable_signature)
    return {"parallel_read_safe": True}


def _without_types(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """An empty type before what is returned: napoleon takes words before a colon for one.

    Types stand in the signatures.
    """
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f": {lines[0]}"
    for index, line in enumerate(lines[:-1]):
        if line in ("Returns:", "Yields:"):
            lines[index + 1] = re.sub(r"(?=\S)", ": ", lines[index + 1], count=1)


def _math_as_roles(
    _app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    r"""``$x^2$`` as a role: reST reads ``|`` and ``_`` outside of one."""
    text = _LITERAL_OR_MATH.sub(lambda m: m[1] or f":math:`{m[2]}`", "\n".join(lines))
    lines[:] = text.split("\n")


def _readable_signature(
    _app: Any,
    _what: str,
    _name: str,
    obj: Any,
    _options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """The signature of ``__init__``, where autodoc shows that of ``Loss.__new__``.

    And ``...`` for the default of a dataclass's field that a factory makes, which Sphinx cannot parse.
    """
    if inspect.isclass(obj) and issubclass(obj, Loss):
        own = signature_of(obj.__init__, bound_method=True)
        signature = stringify_signature(
            own, show_return_annotation=False, unqualified_typehints=True
        )
    return signature and signature.replace("<factory>", "..."), returns
