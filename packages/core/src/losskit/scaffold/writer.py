"""Fill the templates in ``templates/`` in. Torch-free."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parseaddr
from importlib.resources import files
from pathlib import Path

from losskit import __version__
from losskit.discovery.entry_points import RESERVED
from losskit.errors import ConfigError

#: Template → where it goes; markers in both are filled in.
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "github/ci.yml": ".github/workflows/ci.yml",
    "src/__init__.py": "src/@@package@@/__init__.py",
    "src/plugin.py": "src/@@package@@/plugin.py",
    "src/loss.py": "src/@@package@@/losses.py",
    "src/examples.py": "src/@@package@@/examples.py",
    "src/py.typed": "src/@@package@@/py.typed",
    "tests/test_conformance.py": "tests/test_conformance.py",
    "tests/test_loss.py": "tests/test_losses.py",
}
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Names:
    """Everything a plugin's name decides.

    Args:
        slug: words of lower-case letters and digits, joined by ``-``: ``"demo-loss"``.
    """

    slug: str

    @classmethod
    def parse(cls, name: str) -> Names:
        """The names of a plugin called ``"demo-loss"``, ``"demo_loss"`` or ``"losskit-demo-loss"``.

        Raises:
            ConfigError: the name cannot be a package's, or is reserved.
        """
        slug = re.sub(r"[-_. ]+", "-", name.strip()).lower().removeprefix("losskit-")
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
            raise ConfigError(
                f"{name!r} cannot name a plugin: write words of letters and digits, as in demo-loss"
            )
        names = cls(slug)
        if names.namespace in RESERVED or slug == "losskit":
            raise ConfigError(f"the name {slug!r} is reserved for losskit itself: choose another")
        if slug == "loss" or len(slug) > _LONGEST:
            raise ConfigError(
                f"the name {name!r} is too {'plain' if slug == 'loss' else 'long'}: choose another"
            )
        return names

    @property
    def distribution(self) -> str:
        """Name that pip uses: ``losskit-demo-loss``."""
        return f"losskit-{self.slug}"

    @property
    def namespace(self) -> str:
        """The entry point's name: ``demo_loss``."""
        return self.slug.replace("-", "_")

    @property
    def package(self) -> str:
        """Name that Python imports: ``losskit_demo_loss``."""
        return f"losskit_{self.namespace}"

    @property
    def function(self) -> str:
        """The loss as a function: ``demo_loss``."""
        return self.slug.removesuffix("-loss").replace("-", "_") + "_loss"

    @property
    def loss_class(self) -> str:
        """The loss as a class, and in configs: ``DemoLoss``."""
        return "".join(word.capitalize() for word in self.function.split("_"))


def write_plugin(name: str, parent: Path, *, author: str = "") -> Path:
    """Write a plugin package.

    Args:
        name: the plugin's; see ``Names.parse``.
        parent: the folder to make it in.
        author: ``"Ada Lovelace"`` or ``"Ada Lovelace <ada@example.org>"``.

    Returns:
        The package's folder, ``parent/losskit-<name>``.

    Raises:
        ConfigError: the name cannot be used, or the folder holds something already.
    """
    names = Names.parse(name)
    root = parent / names.distribution
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"{root} exists already: choose another name or --dir")
    markers = _markers(names, author)
    templates = files("losskit.scaffold") / "templates"
    for template, place in FILES.items():
        text = templates.joinpath(f"{template}.tmpl").read_text(encoding="utf-8")
        path = root / _filled(place, markers)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(text, markers), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return root


def _markers(names: Names, author: str) -> dict[str, str]:
    display, address = parseaddr(author) if "<" in author else (author.strip(), "")
    display = display or f"The {names.distribution} developers"
    # JSON's strings are TOML's, quotes and backslashes included.
    fields = [f"name = {json.dumps(display, ensure_ascii=False)}"]
    if address:
        fields.append(f"email = {json.dumps(address)}")
    return {
        "author": display,
        "authors": f"{{ {', '.join(fields)} }}",
        "class": names.loss_class,
        "core": ".".join(__version__.split(".")[:2]),
        "distribution": names.distribution,
        "function": names.function,
        "namespace": names.namespace,
        "package": names.package,
    }


def _filled(text: str, markers: dict[str, str]) -> str:
    return re.sub(r"@@(\w+)@@", lambda match: markers[match[1]], text)
