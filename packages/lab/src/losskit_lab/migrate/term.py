"""A loss of a foreign config as a term in our names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from losskit import mmagic
from losskit.errors import LosskitError
from losskit.spec import LossSpec
from losskit_lab.migrate.python_values import Unresolved
from losskit_lab.migrate.search import spec_of, type_of

#: Keys that are the term's own, as ``losskit.objectives.term.ROUTING_KEYS``, which would import torch.
_TERM_KEYS = ("loss_weight", "data_info", "loss_name", "interval")

#: Keys that name a player's losses, not one loss.
_PLAYERS_KEYS = ("gen_auxiliary_loss", "disc_auxiliary_loss")


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


def migrated_term(path: str, found: Mapping[str, Any]) -> MigratedTerm:
    """Write one loss config in our names.

    Args:
        path: where it stood; its last key becomes the term's name if it has "loss" in it.
        found: the config, with a ``type``.
    """
    name = mmagic.loss_type(type_of(found) or "")
    notes: list[str] = []
    arguments: dict[str, Any] = {}
    for key, value in found.items():
        if key in ("type", "_delete_", "_scope_"):
            continue
        bad = next(unresolved(value), None)
        if bad is not None:
            notes.append(f"left out {key}={bad.text}: no constant ({bad.why})")
        else:
            arguments[str(key)] = plain(value)
    own = {key: arguments.pop(key) for key in _TERM_KEYS if key in arguments}
    if arguments.get("loss_name") is None and "loss_name" not in own:
        key = path.rpartition(".")[2]
        if "loss" in key and "[" not in key and key not in _PLAYERS_KEYS:
            own["loss_name"] = key
    spec = spec_of(name)
    inputs: tuple[str, ...] = ()
    if spec is None:
        notes.append(f"no installed plugin supplies {name}: see `losskit list`")
        arguments = mmagic.constructor_arguments(name, arguments, ())
    else:
        name = spec.name
        arguments, inputs = _checked(spec, arguments, notes)
    if own.get("data_info") is None:
        own.pop("data_info", None)
        if inputs:
            notes.append(f"takes the outputs {', '.join(inputs)}; data_info would rename them")
    elif isinstance(own["data_info"], Mapping):
        aliases = mmagic.INPUT_ALIASES.get(name, {})
        own["data_info"] = {
            key if key in inputs else aliases.get(key, key): value
            for key, value in own["data_info"].items()
        }
    return MigratedTerm(path, {"type": name, **own, **arguments}, tuple(notes))


def _checked(
    spec: LossSpec, arguments: Mapping[str, Any], notes: list[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments in our names, without those the loss does not have; and its required inputs."""
    from losskit.signatures import is_required, loss_signature

    try:
        signature = loss_signature(spec)
    except LosskitError as error:
        notes.append(f"unchecked: {error}")
        return dict(arguments), ()
    accepted = list(signature["arguments"])
    renamed = mmagic.constructor_arguments(spec.name, arguments, accepted)
    for key in arguments:
        if key in mmagic.IGNORED_ARGUMENTS and key not in accepted:
            notes.append(f"left out {key}: mixed precision is the trainer's")
    kept = {}
    for key, value in renamed.items():
        if key in accepted:
            kept[key] = value
        else:
            notes.append(f"left out {key}={value!r}: {spec.name} has no such argument")
    required = [name for name, p in signature["inputs"].items() if is_required(p)]
    return kept, tuple(required)


def unresolved(value: Any) -> Iterator[Unresolved]:
    """Whatever inside a value is no constant."""
    if isinstance(value, Unresolved):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from unresolved(key)
            yield from unresolved(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from unresolved(item)


def plain(value: Any) -> Any:
    """Tuples as lists, mappings as dicts: what YAML can hold without Python's own types."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, (str, int, float)) or key is None else str(key): plain(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.text if isinstance(value, Unresolved) else value
