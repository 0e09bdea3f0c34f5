"""Search for losses in an MMagic config, read as plain values; and for where it may hide some."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from losskit import mmagic
from losskit.errors import LosskitError
from losskit.spec import LossSpec
from losskit_lab.migrate.python_config import MISSING, Note, PythonConfig
from losskit_lab.migrate.python_values import Unresolved

#: Words of keys, types and sources that losses stand under.
_LOSS_WORDS = re.compile(r"loss(?!less|y)|criterion|penalty|regulari[sz]er", re.IGNORECASE)
#: Keys under which a model, and no loss, has its networks.
NETWORK_KEYS = frozenset({"generator", "discriminator", "encdec", "disc", "backbone"})
#: Bases of these say nothing of the model.
_OTHER_BASES = re.compile(r"runtime|dataset|schedule")


def losses(config: PythonConfig) -> list[tuple[str, Mapping[str, Any]]]:
    """Each loss and where it stands, those inside the model first.

    A variable that other values were made of (``l1 = dict(...)``, ``model = dict(pixel_loss=l1)``, or
    changed: ``dict(l1, loss_weight=2)``) is an ingredient, not a term of its own.
    """
    return [
        (path, found)
        for path, found in _losses(config.values)
        if (root := root_of(path)) == "model" or root not in config.read
    ]


def _losses(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Loss dicts, the assignments of their own after those inside a model."""
    if isinstance(value, Mapping):
        if path and is_loss(value):
            yield path, value
            return
        nested = sorted(value.items(), key=lambda item: not path and is_loss(item[1]))
        for key, item in nested:
            yield from _losses(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _losses(item, f"{path}[{index}]")


def unread(config: PythonConfig) -> list[str]:
    """A line for each thing that was passed over and could hold a loss."""
    lines = [str(note) for note in config.notes if _may_hold(note)]
    for path, thing in _unread(config.values):
        if root_of(path) == "model" or root_of(path) not in config.read:
            lines.append(f"{path} = {thing.text:.70} was not read ({thing.why}): {MISSING}")
    return lines


def _may_hold(note: Note) -> bool:
    if note.source.startswith("_base_ = "):
        return not _OTHER_BASES.search(note.source)
    return bool(_LOSS_WORDS.search(note.source) or re.search(r"\bmodel\b", note.source))


def _unread(
    value: Any, path: str = "", *, beside: bool = False
) -> Iterator[tuple[str, Unresolved]]:
    """Find values that are not constant where a loss may stand: by place, by their words, by neighbours."""
    if isinstance(value, Unresolved):
        model = path == "model" or path.startswith("model.**")
        if beside or model or _LOSS_WORDS.search(path) or _LOSS_WORDS.search(value.text):
            yield path, value
    elif isinstance(value, Mapping):
        if path and is_loss(value):
            return
        for key, item in value.items():
            if key != "type" or type_of(value) is None:  # a class's name is no mystery
                yield from _unread(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        beside = any(map(is_loss, value))
        for index, item in enumerate(value):
            yield from _unread(item, f"{path}[{index}]", beside=beside)


def loss_configs(config: PythonConfig) -> list[tuple[str, Mapping[str, Any]]]:
    """MMagic's ``loss_config``: the options of losses that stand in the model's class."""
    return [
        (path, found)
        for path, found in _loss_configs(config.values)
        if path != "loss_config" or path not in config.read
    ]


def _loss_configs(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key == "loss_config" and isinstance(item, Mapping) and item:
            yield where, item
        else:
            yield from _loss_configs(item, where)


def model_type(config: PythonConfig) -> str | None:
    """The name of the model's class, without its scope."""
    model = config.values.get("model")
    name = type_of(model) if isinstance(model, Mapping) else None
    return name and name.rpartition(".")[2]


def root_of(path: str) -> str:
    """The variable that a path begins with."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def is_loss(value: Any) -> bool:
    """Return whether a value is a loss's config.

    A model may be named after its losses, as ``GANWithCustomizedLoss`` is: what holds networks, or
    is no loss known here and holds losses itself, is none.
    """
    name = type_of(value) if isinstance(value, Mapping) else None
    if name is None:
        return False
    ours = mmagic.loss_type(name)
    if ours in mmagic.TYPE_ALIASES.values() or spec_of(ours) is not None:
        return True
    if not ours.endswith("Loss") or not NETWORK_KEYS.isdisjoint(value):
        return False
    return not any(map(_holds_loss, value.values()))


def _holds_loss(value: Any) -> bool:
    return is_loss(value) or (isinstance(value, (list, tuple)) and any(map(_holds_loss, value)))


def type_of(config: Mapping[str, Any]) -> str | None:
    """The ``type`` as a name: a string, or, in configs of the newer style, the class itself."""
    kind = config.get("type")
    if isinstance(kind, Unresolved):
        return kind.text.rpartition(".")[2] if kind.text.replace(".", "").isidentifier() else None
    return kind.replace(" ", "") if isinstance(kind, str) else None


def spec_of(name: str) -> LossSpec | None:
    """The installed loss of this name, if there is one."""
    from losskit.discovery.registry import get_spec

    try:
        return get_spec(name)
    except LosskitError:
        return None
