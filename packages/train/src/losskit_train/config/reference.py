"""The keys of a training config, as rows for the docs and as YAML with comments.

Everything is read from the dataclasses of the config: types, bounds and defaults from their fields,
meanings and examples from the ``Args:`` of their docstrings.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from losskit.objectives.config import config_yaml
from losskit_train.config.training import TrainConfig

_WORDS = {
    int: ["whole number"],
    float: ["number"],
    str: ["text"],
    bool: ["`true`", "`false`"],
    dict: ["mapping"],
    list: ["list"],
    types.NoneType: ["`null`"],
    Any: ["any value"],
}
_ARGUMENT = re.compile(r"    (\w+): (.*(?:\n     .*)*)")
_EXAMPLE = re.compile(r"\s*Example: `(.+)`\.$")
_WIDTH = 100


@dataclass(frozen=True)
class Key:
    """One key of the training config.

    Args:
        path: its name with its section's, ``data.task``.
        type: what it may be, in words and with bounds.
        default: its value where a config does not have it; ``MISSING``: it is required.
        meaning: what it does; code is in single backticks.
        example: a value as YAML, where the docstring has one; else the default is an example.
        section: the dataclass of the keys below it, if it has any.
    """

    path: str
    type: str
    default: Any
    meaning: str
    example: str | None = None
    section: type | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def required(self) -> bool:
        """Return whether a config, or the section if it is given, must have the key."""
        return self.default is MISSING

    def default_in_words(self) -> str:
        """The default as YAML; ``required``; empty for a section whose keys have their own."""
        if self.required:
            return "required"
        return "" if is_dataclass(self.default) else f"`{flow_yaml(self.default)}`"


def keys_of(cls: Any = TrainConfig, path: str = "") -> Iterator[Key]:
    """The keys of one section, without those of the sections in it.

    Args:
        cls: the section's dataclass.
        path: the section's own path; empty for the whole config.
    """
    hints, meanings = get_type_hints(cls), _arguments(cls)
    for field in fields(cls):
        hint, meaning = hints[field.name], meanings.get(field.name, "")
        example = _EXAMPLE.search(meaning)
        yield Key(
            path=f"{path}.{field.name}" if path else field.name,
            type=_in_words(hint, _bounds(field)),
            default=field.default if field.default_factory is MISSING else field.default_factory(),
            meaning=_EXAMPLE.sub("", meaning),
            example=example and example[1],
            section=next((k for k in (hint, *get_args(hint)) if is_dataclass(k)), None),
        )


def all_keys(cls: Any = TrainConfig, path: str = "") -> Iterator[Key]:
    """The keys of a section and of those in it, each section followed by its keys."""
    for key in keys_of(cls, path):
        yield key
        if key.section is not None:
            yield from all_keys(key.section, key.path)


def description(cls: type) -> str:
    """Return a section's docstring up to its arguments; code is in single backticks."""
    return _single_backticks((inspect.getdoc(cls) or "").partition("\nArgs:")[0]).strip()


def _arguments(cls: type) -> dict[str, str]:
    """The meanings of a section's keys, from the ``Args:`` of its docstring, each on one line."""
    section = (inspect.getdoc(cls) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    return {
        name: _single_backticks(" ".join(text.split())) for name, text in _ARGUMENT.findall(section)
    }


def _single_backticks(text: str) -> str:
    return text.replace("``", "`")


def _bounds(field: Field[Any]) -> str:
    least, most = field.metadata.get("least"), field.metadata.get("most")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f" >= {least}"
    return "" if most is None else f" <= {most}"


def _in_words(hint: Any, bounds: str) -> str:
    """Describe what a type allows, as in "true, false or number >= 0"."""
    *most, last = _alternatives(hint, bounds)
    return f"{', '.join(most)} or {last}" if most else last


def _alternatives(hint: Any, bounds: str) -> list[str]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [word for kind in arguments for word in _alternatives(kind, bounds)]
    if origin is Literal:
        return [f"`{flow_yaml(value)}`" for value in arguments]
    if origin in (list, tuple) and Any not in arguments:
        item = _in_words(arguments[0], bounds).replace("number", "numbers")
        return [f"list of {item}" if origin is list else f"list of {len(arguments)} {item}"]
    if is_dataclass(hint):
        return ["section"]
    words = _WORDS.get(origin or hint, [str(hint)])
    return [word + bounds if word.endswith("number") else word for word in words]


def flow_yaml(value: Any) -> str:
    """A value as YAML on one line."""
    return config_yaml(value, one_line=True).strip()


def required_examples() -> dict[str, Any]:
    """The smallest config: an example for each key that is required."""
    return _examples(TrainConfig, "")


def _examples(cls: type, path: str) -> dict[str, Any]:
    return {key.name: _example(key) for key in keys_of(cls, path) if key.required}


def _example(key: Key) -> Any:
    if key.section is not None:
        return _examples(key.section, key.path)
    return None if key.example is None else yaml.safe_load(key.example)


def commented_yaml(values: Mapping[str, Any]) -> str:
    """A training config with all its keys, each below a comment that says what it is.

    A section that is left out (``null``) is there as lines that begin with ``#``: without it they
    are the section.

    Args:
        values: the config; defaults, and examples of what is required, are filled in.
    """
    return "\n".join(_lines(TrainConfig, "", values)).lstrip() + "\n"


def _lines(cls: type, path: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key in keys_of(cls, path):
        if not path:
            yield ""
        value = values.get(key.name, _example(key) if key.required else key.default)
        yield from _comment(key)
        if key.section is None:
            yield from config_yaml({key.name: value}).splitlines()
            continue
        below = value if isinstance(value, Mapping) else asdict(value) if value else {}
        lines = [f"{key.name}:", *_indented(_lines(key.section, key.path, below))]
        yield from lines if value is not None else (f"#{line}" for line in lines)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" if line else line for line in lines)


def _comment(key: Key) -> Iterator[str]:
    facts = f"Type: {key.type}."
    if default := key.default_in_words():
        facts += " Required." if key.required else f" Default: {default}."
    example = [] if key.example is None else [f"Example: {key.example}"]
    width = _WIDTH - 2 * key.path.count(".") - len("# ")
    meanings = description(key.section).split("\n\n") if key.section else [key.meaning]
    for paragraph in (*meanings, facts, *example):
        for line in textwrap.wrap(
            _sentence(paragraph), width, break_long_words=False, break_on_hyphens=False
        ):
            yield f"# {line}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
