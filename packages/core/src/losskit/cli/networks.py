"""The files of published networks that other libraries fetch, and whether they are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from losskit.discovery.registry import list_backbones
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError, nearest
from losskit.spec import BackboneSpec, NetworkFile
from losskit.text import one_line


@dataclass(frozen=True, slots=True)
class Network:
    """A network's file, or why nothing can be said of it.

    Args:
        name: ``family/name``.
        plugin: whose losses use it.
        file: None where the lookup failed.
        error: why it failed.
        absent: whether it failed because a package is not installed.
    """

    name: str
    plugin: str
    file: NetworkFile | None
    error: str = ""
    absent: bool = False

    @property
    def status(self) -> str:
        """``present``, ``missing`` or ``unknown``."""
        return "unknown" if self.file is None else "present" if self.file.here else "missing"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        file = {} if self.file is None else asdict(self.file)
        return {
            "name": self.name,
            "plugin": self.plugin,
            "status": self.status,
            **{key: file.get(key) for key in ("path", "source", "fetch")},
            "error": self.error,
        }


def default_networks() -> list[Network]:
    """Those that the installed plugins' losses use unless they are told otherwise."""
    return [_looked_up(spec, name) for spec in list_backbones() for name in spec.networks]


def known_networks(words: Sequence[str] = ()) -> list[Network]:
    """All that the installed libraries know, or those with all of these words in their name.

    A family whose names cannot be listed is one row that says why.
    """
    found = []
    for spec in list_backbones():
        if not spec.files:
            continue
        names: Sequence[str] = spec.networks
        if spec.known:
            try:
                names = sorted(resolve_target(spec.known)())
            except (Exception, SystemExit) as error:
                found.append(_failed(spec.name, spec, error))
                continue
        matching = [n for n in names if all(w.lower() in f"{spec.name}/{n}".lower() for w in words)]
        found += [_looked_up(spec, name) for name in matching]
    return found


def families() -> dict[str, BackboneSpec]:
    """The families of networks whose files the installed plugins can look up, by name."""
    return {spec.name: spec for spec in list_backbones() if spec.files}


def find_network(name: str) -> Network:
    """A network by ``family/name``.

    Raises:
        ConfigError: no installed plugin tells of the family's files, or the family has no such
            network.
    """
    family, slash, rest = name.partition("/")
    known = families()
    if not slash or family not in known:
        raise ConfigError(
            f"network {name!r} is of no known family{nearest(family, known)}; write family/name "
            f"with one of {', '.join(known) or 'none: no plugin tells of any'}"
        )
    found = _looked_up(known[family], rest)
    if found.file is None:
        raise ConfigError(f"{name}: {found.error}")
    return found


def _looked_up(spec: BackboneSpec, name: str) -> Network:
    full = f"{spec.name}/{name}"
    try:
        file = resolve_target(spec.files)(name)
    except (Exception, SystemExit) as error:  # anybody's plugin, or a library that fails to import
        return _failed(full, spec, error)
    if not isinstance(file, NetworkFile):
        return Network(full, spec.namespace, None, f"{spec.files} gives no NetworkFile")
    return Network(full, spec.namespace, file)


def _failed(name: str, spec: BackboneSpec, error: BaseException) -> Network:
    text = one_line(error)[:300] or type(error).__name__
    absent = isinstance(error.__cause__ or error, ModuleNotFoundError)
    return Network(name, spec.namespace, None, text, absent)
