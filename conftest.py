"""Every block of the README, the examples' READMEs and the docs is a test: see ``tests/support``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import docblocks
import pytest
from sybil import Sybil

_ROOT = Path(__file__).parent


@pytest.fixture(scope="module")
def page_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A page's blocks share a folder that holds the examples; what they register is forgotten after."""
    import torch

    from losskit.discovery import registry

    page = Path(str(request.path))
    local = dict(registry._LOCAL)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("page")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.png", "*.svg")
    shutil.copytree(_ROOT / "examples", folder / "examples", ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if (page.parent / "pyproject.toml").exists() and page.parent.parent.name == "examples":
            _install(patch, page.parent)
        yield
    registry._LOCAL.clear()
    registry._LOCAL.update(local)
    registry.refresh()


def _install(patch: pytest.MonkeyPatch, project: Path) -> None:
    """An example that is a plugin of its own is installed for its page."""
    from losskit.testing import PluginSandbox

    (package,) = (path.name for path in (project / "src").iterdir() if path.name[0] != ".")
    patch.syspath_prepend(str(project / "src"))
    PluginSandbox(patch).install(package.removeprefix("losskit_"), f"{package}.plugin")


pytest_collect_file = Sybil(
    parsers=[docblocks.parse],
    patterns=docblocks.COLLECTED,
    excludes=list(docblocks.ELSEWHERE),
    fixtures=["page_folder"],
).pytest()
