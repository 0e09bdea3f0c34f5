"""Sources of a preset's numbers: each number it prints has one, and how well it was checked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Config: TypeAlias = dict[str, Any]

#: ``first hand``: read in that very file. ``in a copy``: read in somebody's copy of it. ``second
#: hand``: as another work quotes it. ``no``: written down from memory of the paper.
Checked: TypeAlias = Literal["first hand", "in a copy", "second hand", "no"]


@dataclass(frozen=True)
class Source:
    """One place that numbers come from.

    Args:
        numbers: their names, separated by spaces: ``gan_loss.loss_weight``, ``R1GradientPenalty.interval``
            (a term's ``loss_name``, or its type, and a key), ``optimizer.betas``; or what these begin
            with.
        place: paper and equation, or repository and file.
        checked: whether they were read there.
        note: what other places have.
    """

    numbers: str
    place: str
    checked: Checked = "first hand"
    note: str = ""

    def covers(self, name: str) -> bool:
        """Return whether a number of this name is from this source."""
        return any(name == own or name.startswith(f"{own}.") for own in self.numbers.split())


def from_sources(*sources: Source) -> Callable[[Callable[..., Config]], Callable[..., Config]]:
    """Let a preset's config name its ``sources``; what ``loss_config`` changed is from there."""

    def decorate(preset: Callable[..., Config]) -> Callable[..., Config]:
        @functools.wraps(preset)
        def with_sources(**options: Any) -> Config:
            config = preset(**options)
            published, now = numbers_of(preset()), numbers_of(config)
            own = [name for name in now if now[name] == published.get(name)]
            listed = [_listed(source, [n for n in own if source.covers(n)]) for source in sources]
            changed = [name for name in now if name not in own]
            listed.append({"numbers": changed, "from": "loss_config"})
            return {**config, "sources": [entry for entry in listed if entry["numbers"]]}

        return with_sources

    return decorate


def _listed(source: Source, names: list[str]) -> Config:
    entry = {"numbers": names, "from": source.place, "checked": source.checked}
    return {**entry, "note": source.note} if source.note else entry


def numbers_of(config: Config) -> dict[str, list[float]]:
    """A config's numbers by name; terms of one name have theirs together."""
    found: dict[str, list[float]] = {}
    for key, value in config.items():
        terms = value if isinstance(value, list) else [value] if key == "gan_loss" else None
        if terms is None:
            for path, number in _leaves(value, key):
                found.setdefault(path, []).append(number)
            continue
        for term in terms:
            name = "gan_loss" if key == "gan_loss" else term.get("loss_name", term["type"])
            for option, inner in term.items():
                for _, number in _leaves(inner, option):
                    found.setdefault(f"{name}.{option}", []).append(number)
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Numbers inside mappings (by their keys) and lists (by the list's name)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(inner, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
