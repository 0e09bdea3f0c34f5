"""MMagic's Python configs as objectives: read, never executed."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losskit import compat
from losskit.errors import LosskitError
from losskit.migrate_search import loss_configs, losses, model_type, spec_of, type_of, unread
from losskit.python_config import PythonConfig, read_python_config
from losskit.python_values import Unresolved
from losskit.registry import list_presets
from losskit.spec import LossSpec, resolve_target

#: Keys that are the term's own, as ``losskit.term.ROUTING_KEYS``, which would import torch.
_TERM_KEYS = ("loss_weight", "data_info", "loss_name", "interval")
_OF_DISCRIMINATOR = ("DiscShiftLoss", "GradientPenaltyLoss", "R1GradientPenalty")


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
    config = read_python_config(path)
    result = Migration(path.name, notes=unread(config))
    result.terms += [_term(where, found) for where, found in losses(config)]
    result.notes += _preset_notes(config, result.terms)
    if not (result.terms or result.notes) and (model := model_type(config)):
        result.notes.append(
            f"the config names no loss: what {model} is trained with, if it is, stands in its class"
        )
    if any(_is_of_discriminator(term) for term in result.terms):
        result.notes.append(
            "Terms of the discriminator belong into an objective of their own: it has its own step."
        )
    return result


def _is_of_discriminator(term: MigratedTerm) -> bool:
    return "disc" in term.path or term.config["type"] in _OF_DISCRIMINATOR


def _preset_notes(config: PythonConfig, terms: Sequence[MigratedTerm]) -> Iterator[str]:
    """Where the losses stand in the model's class: the preset that has the same ones."""
    model = model_type(config)
    preset = compat.MODEL_PRESETS.get(model or "")
    known = _preset_keys(preset) if preset else None
    found = loss_configs(config)
    for where, options in found:
        taken = [key for key in options if known is None or key in known]
        words = [shlex.quote(f"{key}={_word(options[key])}") for key in taken]
        command = " ".join(["losskit presets", preset or "NAME", *words])
        hint = "" if preset else "see `losskit presets` for its name, then "
        yield f"{where} holds the keys of a preset: {hint}`{command}`"
        for key in options:
            if key not in taken:
                yield f"left out {where}.{key}={_word(options[key])}: {preset} has no such key"
    if preset and not found and not terms:
        yield f"{model} has its losses in its class, not in the config: `losskit presets {preset}`"
    if preset and known is None and (found or not terms):
        yield "the presets come with losskit-gan: pip install losskit-gan"


def _preset_keys(name: str) -> list[str] | None:
    """The ``loss_config`` keys of a preset; ``None`` where it is not installed."""
    for spec in list_presets():
        if spec.name == name:
            return list(inspect.signature(resolve_target(spec.target)).parameters)
    return None


def _word(value: Any) -> str:
    """An option's value as ``losskit presets`` reads it back."""
    return value if isinstance(value, str) else json.dumps(_plain(value))


def _term(path: str, found: Mapping[str, Any]) -> MigratedTerm:
    name = compat.loss_type(type_of(found) or "")
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
    spec = spec_of(name)
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
        for key, item in value.items():
            yield from _unresolved(key)
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
