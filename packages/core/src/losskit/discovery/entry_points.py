"""Plugins that are installed, those that the user allows, and their conflicts over names.

Torch-free, and nothing of a plugin is imported here.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ENTRY_POINT_GROUP = "losskit"
#: Names only these distributions may use as a namespace. ``local``: `losskit.register`'s.
RESERVED = {
    "core": "losskit",
    "gan": "losskit-gan",
    "lab": "losskit-lab",
    "train": "losskit-train",
    "perceptual": "losskit-perceptual",
    "clip": "losskit-clip",
    "identity": "losskit-identity",
    "local": "",
}


@dataclass(frozen=True, slots=True)
class Controls:
    """Permissions to import plugins, from the environment and the command line."""

    allowed: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls) -> Controls:
        """Read ``LOSSKIT_PLUGINS`` (an allowlist; empty: none) and ``LOSSKIT_DISABLE``."""
        allowed = os.environ.get("LOSSKIT_PLUGINS")
        return cls(
            None if allowed is None else _names(allowed),
            _names(os.environ.get("LOSSKIT_DISABLE", "")),
        )

    @classmethod
    def of(cls, allowed: Iterable[str], disabled: frozenset[str] = frozenset()) -> Controls:
        """An allowlist given in code."""
        return cls(frozenset(map(normalised, allowed)), disabled)

    def blocks(self, name: str, distribution: str) -> str:
        """Explain why a plugin may not be imported; return "" if it may."""
        names = {normalised(name), normalised(distribution)}
        if names & self.disabled:
            return "LOSSKIT_DISABLE names it"
        # The core is no plugin to be kept out: without an explicit entry it stays.
        if self.allowed is not None and not names & self.allowed and name != "core":
            return "LOSSKIT_PLUGINS does not name it"
        return ""


def _names(text: str) -> frozenset[str]:
    return frozenset(normalised(part.strip()) for part in text.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One plugin as its package's metadata announces it."""

    name: str
    module: str
    distribution: str
    version: str


def entry_points() -> list[EntryPoint]:
    """Every distinct entry point; one seen twice (an editable and a wheel) counts once."""
    seen: dict[tuple[str, str, str], EntryPoint] = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            distribution = point.dist.metadata["Name"] if point.dist else "unknown"
            version = point.dist.version if point.dist else "unknown"
        except Exception:  # damaged metadata is that distribution's fault alone
            distribution, version = "unknown", "unknown"
        entry = EntryPoint(point.name, point.value, distribution or "unknown", version or "unknown")
        seen.setdefault((entry.name, entry.module, normalised(entry.distribution)), entry)
    return sorted(
        seen.values(), key=lambda entry: (entry.name != "core", entry.name, entry.distribution)
    )


def normalised(distribution: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def conflicts(entries: list[EntryPoint]) -> dict[EntryPoint, tuple[str, str]]:
    """The entries that claim a name which is not theirs alone, with error and hint."""
    claims = Counter(entry.name for entry in entries)
    result = {}
    for entry in entries:
        owner = RESERVED.get(entry.name)
        if owner is not None and normalised(entry.distribution) != owner:
            result[entry] = (
                f"the namespace {entry.name!r} is reserved for {owner or 'losskit.register'}",
                "rename the entry point in that package's pyproject.toml",
            )
        elif owner is None and claims[entry.name] > 1:
            others = sorted(
                f"{other.distribution} {other.version}"
                for other in entries
                if other.name == entry.name and other != entry
            )
            result[entry] = (
                f"{', '.join(others)} also claims the name {entry.name!r}",
                f"uninstall one, or set LOSSKIT_DISABLE to a distribution: {entry.distribution}",
            )
    return result
