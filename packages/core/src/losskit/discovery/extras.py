"""Optional packages: which are here, and the install that brings one that is not.

Extras are read from the metadata of losskit and of the plugins that are installed.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from losskit.errors import LosskitError
from losskit.text import one_line

#: Distributions that are not named as their module is.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "skimage": "scikit-image",
    "open_clip": "open-clip-torch",
    "yaml": "pyyaml",
}
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""\s*extra\s*==\s*["']([\w.-]+)["']\s*""")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package that a distribution's metadata names.

    Args:
        package: its normalised name.
        distribution: whose metadata names it.
        extra: the extra that brings it; empty where it always comes along.
        brings: extras of ``package`` that are asked for (``losskit[images]``).
    """

    package: str
    distribution: str
    extra: str = ""
    brings: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """The command that installs it."""
        if not self.extra:
            return f"pip install {self.package}"
        return f"pip install '{self.distribution}[{self.extra}]'"


def requirements_of(distribution: str) -> list[Requirement]:
    """List the requirements in a distribution's metadata, without those that depend on the platform."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match is None:
            continue
        name, extras, marker = match.groups()
        extra = _EXTRA.fullmatch(marker) if marker else None
        if marker and extra is None:
            continue
        brings = tuple(part.strip() for part in (extras or "").split(",") if part.strip())
        found.append(
            Requirement(_normalised(name), distribution, extra[1] if extra else "", brings)
        )
    return found


def known_requirements(first: str = "losskit") -> list[Requirement]:
    """List the requirements of losskit and the installed plugins, ``first``'s before the others'."""
    from losskit.discovery.registry import plugins

    names = dict.fromkeys([first, "losskit", *(record.distribution for record in plugins())])
    return [requirement for name in names for requirement in requirements_of(name)]


def install_of(*modules: str, distribution: str = "losskit") -> str | None:
    """The command that installs modules, as ``pip install 'losskit[images]'``.

    Of several extras that bring all of them, the one with the fewest packages is taken.

    Args:
        modules: names, of which the part before the first dot counts.
        distribution: whose extras are looked at first.

    Returns:
        ``None`` if no one extra of losskit or an installed plugin brings all of them.
    """
    tops = [module.partition(".")[0] for module in modules]
    wanted = {_normalised(_DISTRIBUTIONS.get(top, top)) for top in tops}
    known = known_requirements(distribution)
    for name in dict.fromkeys(requirement.distribution for requirement in known):
        own = [requirement for requirement in known if requirement.distribution == name]
        always = set(_packages(own, ""))
        packages = {extra: {*always, *_packages(own, extra)} for extra in {r.extra for r in own}}
        found = [extra for extra, brought in packages.items() if wanted <= brought]
        if found:
            extra = min(found, key=lambda extra: (len(packages[extra]), extra))
            if not extra and len(wanted) > 1:  # whatever of them is missing
                return f"pip install {name}"
            return Requirement(" ".join(sorted(wanted)), name, extra).install
    return None


def _packages(requirements: Sequence[Requirement], extra: str) -> Iterator[str]:
    """The packages of an extra, and of the extras of other packages that it asks for."""
    for requirement in requirements:
        if requirement.extra == extra:
            yield requirement.package
            for other in requirement.brings:
                yield from _packages(requirements_of(requirement.package), other)


def require(what: str, *modules: str, distribution: str = "losskit") -> None:
    """Check that optional modules are installed, without importing them.

    Args:
        what: needs them, for the message (``"reading images"``).
        modules: their names; ``"a|b"`` is satisfied by either.
        distribution: whose extras bring them.

    Raises:
        LosskitError: some are not; the message has the install of all of them.
    """
    choices = [names.split("|") for names in modules]
    missing = [names[0] for names in choices if not any(map(is_installed, names))]
    if missing:
        # The extra that is meant for all of it, not the smallest one that brings what is missing.
        install = install_of(*(names[0] for names in choices), distribution=distribution)
        packages = [_DISTRIBUTIONS.get(name, name) for name in missing]
        install = install or f"pip install {' '.join(packages)}"
        raise LosskitError(f"{what} needs {_joined(packages)}: {install}")


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be found; it is not imported."""
    return find_spec(module) is not None


def is_known_absence(error: ModuleNotFoundError) -> bool:
    """Return whether an import failed because a package that losskit or a plugin names is missing."""
    top = (error.name or "").partition(".")[0]
    return bool(top) and not is_installed(top) and install_of(top) is not None


def explained(error: BaseException, distribution: str = "losskit") -> str:
    """An exception's text on one line, with the install where it is a known module's absence."""
    text = one_line(error)
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return text
    top = error.name.partition(".")[0]
    if is_installed(top):  # a misspelt part of it
        return text
    install = install_of(top, distribution=distribution)
    return text if install is None else f"it needs {top}: {install}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
