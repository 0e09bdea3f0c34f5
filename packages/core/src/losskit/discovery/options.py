"""Hold a config's values against the plain annotations of what takes them: bool, int, float, str."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from losskit.errors import ConfigError

_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "None": "null",
}
#: Which of these a value may stand for: a whole number is a number, and 1 says true.
_STANDS_FOR: dict[type, tuple[str, ...]] = {
    bool: ("bool",),
    int: ("int", "float", "bool"),
    float: ("float",),
    str: ("str",),
    type(None): ("None",),
    list: (),
    tuple: (),
    dict: (),
}


def check_options(
    owner: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> None:
    """Refuse plain values that an annotation such as ``int | None`` rules out.

    Other annotations and values that no config can hold are the owner's to judge, and a default is
    always right, even ``None`` where the annotation forgets it.

    Args:
        owner: what takes the options, for the message.
        parameters: those of its signature.
        given: the values by name.

    Raises:
        ConfigError: a value is of another kind than its annotation.
    """
    for name, value in given.items():
        if name not in parameters or type(value) not in _STANDS_FOR:
            continue
        parameter = parameters[name]
        if type(value) is type(parameter.default) and value == parameter.default:
            continue
        kinds = _kinds(parameter.annotation)
        if kinds and not any(kind in kinds for kind in _STANDS_FOR[type(value)]):
            wanted = " or ".join(_WORDS[kind] for kind in kinds)
            raise ConfigError(f"{owner}: {name} must be {wanted}, not {value!r}{_hint(value)}")


def _kinds(annotation: Any) -> list[str]:
    """``["int", "None"]`` of ``int | None``, a text or not; none of what is not so plain."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = [kind.strip() for kind in text.split("|")]
    return kinds if all(kind in _WORDS for kind in kinds) else []


def _hint(value: Any) -> str:
    if isinstance(value, str) and "e" in value.lower():
        try:
            float(value)
        except ValueError:
            return ""
        return "; YAML takes 1e-4 for a text and 1.0e-4 for a number"
    return ""
