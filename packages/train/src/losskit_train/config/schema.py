"""Check a nested mapping against dataclasses: every error names the key by its path."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from losskit.errors import ConfigError, nearest

_T = TypeVar("_T")


def from_mapping(cls: type[_T], data: Any, path: str = "") -> _T:
    """Make a dataclass from a mapping, its fields checked and converted by their types.

    A field's ``metadata`` may hold ``least`` and ``most``: the smallest and largest number allowed.
    Numbers that are not finite are never allowed.

    Args:
        cls: a dataclass, whose fields are numbers, strings, booleans, ``Literal``s, lists, tuples,
            mappings, other such dataclasses, unions of those, or ``Any``.
        data: what the config file holds.
        path: where in the file, for messages.

    Raises:
        ConfigError: a key is unknown or missing, or a value is of a wrong type or out of range.
    """
    return _section(cls, data, path, _paths(cls, ""))


def _section(cls: type[_T], data: Any, path: str, everywhere: Sequence[str]) -> _T:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'the config'} must be a mapping, not {data!r:.60}")
    hints = get_type_hints(cls)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type] # a dataclass
    for key in data:
        if key not in known:
            raise ConfigError(_unknown(str(key), path, list(known), everywhere))
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = _checked(data[name], hints[name], _join(path, name), field, everywhere)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{_join(path, name)} is missing")
    return cls(**values)


def _unknown(key: str, path: str, here: list[str], everywhere: Sequence[str]) -> str:
    hint = nearest(key, here)
    if hint:
        hint = nearest(_join(path, key), [_join(path, name) for name in here]) or hint
    else:  # the right word in the wrong section
        elsewhere = [other for other in everywhere if other.rpartition(".")[2] == key]
        hint = f"; did you mean {elsewhere[0]!r}?" if elsewhere else ""
    return f"unknown key {_join(path, key)!r}{hint or '; known here: ' + ', '.join(here)}"


def _checked(value: Any, hint: Any, path: str, field: Field[Any], everywhere: Sequence[str]) -> Any:
    result = _converted(value, hint, path, everywhere)
    least, most = field.metadata.get("least"), field.metadata.get("most")
    numbers = result if isinstance(result, (tuple, list)) else [result]
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise ConfigError(f"{path} must be finite, not {value!r}")
        if least is not None and isinstance(number, (int, float)) and number < least:
            raise ConfigError(f"{path} must be at least {least}, not {value!r}")
        if most is not None and isinstance(number, (int, float)) and number > most:
            raise ConfigError(f"{path} must be at most {most}, not {value!r}")
    return result


def _converted(value: Any, hint: Any, path: str, everywhere: Sequence[str]) -> Any:
    if hint is Any:
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _alternative(value, arguments, path, everywhere)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(
                f"{path} must be one of {', '.join(map(str, arguments))}, not {value!r}"
                + nearest(str(value), map(str, arguments))
            )
        return value
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path} must be a list, not {value!r}")
        kinds = arguments[:1] * len(value) if origin is list else arguments
        if len(kinds) != len(value):
            raise ConfigError(f"{path} must have {len(kinds)} values, not {value!r}")
        return origin(
            _converted(item, kind, f"{path}[{index}]", everywhere)
            for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a mapping, not {value!r}")
        return dict(value)
    if is_dataclass(hint):
        section: Any = hint
        return _section(section, value, path, everywhere)
    return _plain(value, hint, path)


def _alternative(value: Any, kinds: tuple[Any, ...], path: str, everywhere: Sequence[str]) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _converted(value, kinds[0], path, everywhere)
    for kind in kinds:
        try:
            return _converted(value, kind, path, everywhere)
        except ConfigError:
            continue
    names = " or ".join(map(_in_words, kinds))
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    raise ConfigError(f"{path} must be {names}, not {value!r}{nearest(str(value), words)}")


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is dict:
        return "a mapping"
    return getattr(kind, "__name__", str(kind))


def _plain(value: Any, kind: type, path: str) -> Any:
    if kind is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as text
        except (TypeError, ValueError, OverflowError):
            pass
    elif isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise ConfigError(f"{path} must be {words.get(kind, kind.__name__)}, not {value!r}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _paths(cls: type, path: str) -> list[str]:
    return list(_walk(cls, path))


def _walk(cls: Any, path: str) -> Iterator[str]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        yield _join(path, field.name)
        for kind in (hints[field.name], *get_args(hints[field.name])):
            if is_dataclass(kind):
                yield from _walk(kind, _join(path, field.name))


def with_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set ``section.key=value`` texts, as the command line gives them, in a copy of a config.

    Values are read as YAML, so that ``null``, numbers and ``[1, 2]`` mean what they do in the file.
    A number as a part of the path is an index of a list.

    Raises:
        ConfigError: a text has no ``=``, its value is no YAML, or its path leads through a value
            that has no keys.
    """
    import copy

    import yaml

    result = copy.deepcopy(dict(data))
    for text in overrides:
        path, equals, raw = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"write an override as key=value, not {text!r}")
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {text!r} is not readable as YAML") from error
        _set(result, path.split("."), value, text)
    return result


def _set(node: Any, keys: list[str], value: Any, text: str) -> None:
    for index, key in enumerate(keys):
        last = index == len(keys) - 1
        place: Any = key
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"{text!r}: {key!r} is no index of a list of {len(node)}")
            place = int(key)
        elif not isinstance(node, dict):
            raise ConfigError(f"{text!r}: {'.'.join(keys[:index])} is {node!r}, which has no keys")
        if last:
            node[place] = value
        else:
            if isinstance(node, dict) and node.get(place) is None:
                node[place] = {}
            node = node[place]
