"""Weights that installed packages ship, found without importing the package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from losskit.spec import NetworkFile


def shipped_file(
    module: str, names: Sequence[str], *, install: str, distribution: str = ""
) -> NetworkFile:
    """A network's file inside an installed package.

    Args:
        module: the top-level package, as it is imported.
        names: the network's files, relative to the package; all must be there.
        install: the command that installs the package.
        distribution: the package's name on the index, if it is not ``module``.

    Returns:
        The one file, or the folder of several. The path is empty if the package is not installed.
    """
    source = f"the package {distribution or module}"
    found = find_spec(module)
    if found is None or found.origin is None:
        return NetworkFile("", False, source, install)
    paths = [Path(found.origin).parent / name for name in names]
    path = paths[0] if len(paths) == 1 else paths[0].parent
    return NetworkFile(str(path), all(path.is_file() for path in paths), source, install)
