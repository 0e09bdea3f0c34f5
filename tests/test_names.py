"""Public names: each is what it says, whatever was imported before it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

PACKAGES = (
    "losskit",
    "losskit_gan",
    "losskit_lab",
    "losskit_train",
    "losskit_perceptual",
    "losskit_clip",
    "losskit_identity",
)


def rooms() -> list[str]:
    """The packages and every package inside them."""
    found = list(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found += [i.name for i in pkgutil.walk_packages(path, f"{package}.") if i.ispkg]
    return found


@pytest.mark.parametrize("package", rooms())
def test_no_public_name_is_that_of_a_module(package: str) -> None:
    """The module would hide the function once anything imports it."""
    module = importlib.import_module(package)
    names = set(getattr(module, "__all__", ()))
    assert not {info.name for info in pkgutil.iter_modules(module.__path__)} & names


# In a process of its own: what is imported stays imported.
WALK = """
import importlib, pkgutil, sys, types
package = importlib.import_module(sys.argv[1])
def modules():
    for info in pkgutil.iter_modules(package.__path__):
        if info.name != "__main__":
            importlib.import_module(f"{package.__name__}.{info.name}")
def names():
    return {name: getattr(package, name) for name in package.__all__}
first = names() if sys.argv[2] == "names" else modules()
modules()
after = names()
assert first in (None, after)
wrong = [n for n, value in after.items() if isinstance(value, types.ModuleType)]
assert not wrong, wrong
"""


@pytest.mark.parametrize("first", ["names", "modules"])
@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_stay_what_they_are_in_either_order(package: str, first: str) -> None:
    subprocess.run([sys.executable, "-c", WALK, package, first], check=True)
