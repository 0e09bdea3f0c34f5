"""MMagic's Python configs as objectives: read, never executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losskit import compat
from losskit.errors import LosskitError
from losskit.python_config import Unresolved, read_python_config
from losskit.spec import LossSpec

#: Keys that are the term's own, as ``losskit.term.ROUTING_KEYS``, which would import torch.
_TERM_KEYS = ("loss_weight", "data_info", "loss_name", "interval")


@dataclass(frozen=True, slots=True)
class MigratedTerm:
    """A loss of the config as a term.

    Args:
        path: where it stood (``"model.pixel_loss"``).
        config: the term's config, in our names.
        notes: what could not be carried over, or needs a look; one line each.
    """

    path: str
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Migration:
    """What became of a config: its terms, and remarks on the whole."""

    source: str
    terms: list[MigratedTerm] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_yaml(self) -> str:
        """The objective as YAML; the notes are comments."""
        import yaml

        lines = [f"# Losses of {self.source}, found by losskit migrate."]
        lines += [f"# {' '.join(note.split())}" for note in self.notes]
        lines.append("terms:" if self.terms else "terms: []")
        for term in self.terms:
            lines.append(f"# {' '.join(term.path.split())}")
            lines += [f"#   {' '.join(note.split())}" for note in term.notes]
            text = yaml.safe_dump([term.config], sort_keys=False, allow_unicode=True)
            lines += text.splitlines()
        return "\n".join(lines) + "\n"


def migrate(path: str | Path) -> Migration:
    """Find the losses of an MMagic (or MMEditing) config and write them in our names.

    The file is parsed and its constants, arithmetic, ``dict(...)`` and ``_base_`` files are
    resolved; nothing of it is run. Which outputs feed a loss is decided by MMagic's model classes, not
    by the config: a loss without ``data_info`` takes outputs by the names of its own arguments.

    Args:
        path: the ``.py`` file.

    Raises:
        LosskitError: the file cannot be read or is no Python.
    """
    path = Path(path)
    read = read_python_config(path)
    result = Migration(path.name, notes=list(read.notes))
    result.terms += [_term(where, found) for where, found in _uses(list(_losses(read.values)))]
    for where, unread in _unread(read.values):
        result.notes.append(
            f"{where} = {unread.text:.70} was not read ({unread.why}): its losses are missing here"
        )
    for where, config in _loss_configs(read.values):
        options = " ".join(f"{k}={_plain(v)}" for k, v in config.items())
        result.notes.append(
            f"{where} holds the keys of a preset; see `losskit presets` for its name, then "
            f"`losskit presets NAME {options}`"
        )
    if any("disc" in term.path for term in result.terms):
        result.notes.append(
            "Terms of the discriminator belong into an objective of their own: it has its own step."
        )
    return result


def _losses(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Loss dicts, the assignments of their own after those inside a model."""
    if isinstance(value, Mapping):
        if path and _is_loss(value):
            yield path, value
            return
        nested = sorted(value.items(), key=lambda item: not path and _is_loss(item[1]))
        for key, item in nested:
            yield from _losses(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _losses(item, f"{path}[{index}]")


def _uses(found: list[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The losses without the variables they were written in: those are no terms of their own.

    `l1 = dict(...)` and `model = dict(pixel_loss=l1)` are one object; where `_base_` merged it, one
    value under one key. Two places inside one variable are two terms.
    """
    roots: dict[int, tuple[int, str]] = {}  # of each object, where it is used: the deepest
    for path, config in found:
        parts = _parts(path)
        if len(parts) >= roots.get(id(config), (0, ""))[0]:
            roots[id(config)] = (len(parts), parts[0])
    nested = [(_parts(path)[-1], config) for path, config in found if len(_parts(path)) > 1]
    return [
        (path, config)
        for path, config in found
        if _parts(path)[0] == roots[id(config)][1] and (path, config) not in nested
    ]


def _parts(path: str) -> list[str]:
    return path.replace("[", ".").split(".")


def _unread(value: Any, path: str = "") -> Iterator[tuple[str, Unresolved]]:
    """What stands outside the losses and is no constant; class names as ``type`` are expected."""
    if isinstance(value, Unresolved):
        yield path, value
    elif isinstance(value, Mapping):
        if path and _is_loss(value):
            return
        for key, item in value.items():
            if key != "type" or _type_of(value) is None:
                yield from _unread(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _unread(item, f"{path}[{index}]")


def _loss_configs(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key == "loss_config" and isinstance(item, Mapping) and item:
            if path:  # the model's, not the variable it was written in
                yield where, item
        else:
            yield from _loss_configs(item, where)


def _is_loss(value: Any) -> bool:
    name = _type_of(value) if isinstance(value, Mapping) else None
    if name is None:
        return False
    ours = compat.loss_type(name)
    return ours.endswith("Loss") or name != ours or _spec(ours) is not None


def _type_of(config: Mapping[str, Any]) -> str | None:
    """The ``type`` as a name: a string, or, in configs of the newer style, the class itself."""
    kind = config.get("type")
    if isinstance(kind, Unresolved):
        return kind.text.rpartition(".")[2] if kind.text.replace(".", "").isidentifier() else None
    return kind.replace(" ", "") if isinstance(kind, str) else None


def _spec(name: str) -> LossSpec | None:
    from losskit.registry import get_spec

    try:
        return get_spec(name)
    except LosskitError:
        return None


def _term(path: str, found: Mapping[str, Any]) -> MigratedTerm:
    name = compat.loss_type(_type_of(found) or "")
    notes: list[str] = []
    arguments: dict[str, Any] = {}
    for key, value in found.items():
        if key in ("type", "_delete_", "_scope_"):
            continue
        bad = next(_unresolved(value), None)
        if bad is not None:
            notes.append(f"left out {key}={bad.text}: no constant ({bad.why})")
        else:
            arguments[str(key)] = _plain(value)
    own = {key: arguments.pop(key) for key in _TERM_KEYS if key in arguments}
    if arguments.get("loss_name") is None and "loss_name" not in own:
        key = path.rpartition(".")[2]
        if "loss" in key and "[" not in key:
            own["loss_name"] = key
    spec = _spec(name)
    inputs: tuple[str, ...] = ()
    if spec is None:
        notes.append(f"no installed plugin supplies {name}: see `losskit list`")
        arguments = compat.constructor_arguments(name, arguments, ())
    else:
        name = spec.name
        arguments, inputs = _checked(spec, arguments, notes)
    if own.get("data_info") is None:
        own.pop("data_info", None)
        if inputs:
            notes.append(f"takes the outputs {', '.join(inputs)}; data_info would rename them")
    elif isinstance(own["data_info"], Mapping):
        aliases = compat.INPUT_ALIASES.get(name, {})
        own["data_info"] = {
            key if key in inputs else aliases.get(key, key): value
            for key, value in own["data_info"].items()
        }
    return MigratedTerm(path, {"type": name, **own, **arguments}, tuple(notes))


def _checked(
    spec: LossSpec, arguments: Mapping[str, Any], notes: list[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments in our names, without those the loss does not have; and its required inputs."""
    from losskit.cli.listing import loss_signature

    try:
        signature = loss_signature(spec)
    except LosskitError as error:
        notes.append(f"unchecked: {error}")
        return dict(arguments), ()
    accepted = list(signature["arguments"])
    renamed = compat.constructor_arguments(spec.name, arguments, accepted)
    for key in arguments:
        if key in compat.IGNORED_ARGUMENTS and key not in accepted:
            notes.append(f"left out {key}: mixed precision is the trainer's")
    kept = {}
    for key, value in renamed.items():
        if key in accepted:
            kept[key] = value
        else:
            notes.append(f"left out {key}={value!r}: {spec.name} has no such argument")
    required = [n for n, default in signature["inputs"].items() if default == "required"]
    return kept, tuple(required)


def _unresolved(value: Any) -> Iterator[Unresolved]:
    if isinstance(value, Unresolved):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _unresolved(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _unresolved(item)


def _plain(value: Any) -> Any:
    """Tuples as lists, mappings as dicts: what YAML can hold without Python's own types."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, (str, int, float)) or key is None else str(key): _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.text if isinstance(value, Unresolved) else value
