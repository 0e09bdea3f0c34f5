"""Shared by all tests: seeds, threads, discovery kept to what is installed here, shape checks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

if os.environ.get("LOSSKIT_TYPECHECK") == "1":
    # Shapes in annotations, checked at run time: before anything else imports the packages.
    from jaxtyping import install_import_hook

    install_import_hook(
        ["losskit", "losskit_gan", "losskit_perceptual", "losskit_clip", "losskit_identity"],
        "typechecker.checked",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Checked annotations refuse bad input before our own messages do, and cannot be compiled."""
    if os.environ.get("LOSSKIT_TYPECHECK") == "1":
        for item in items:
            code = inspect.getsource(item.obj) if isinstance(item, pytest.Function) else ""
            if "pytest.raises" in code or "compile" in code:
                item.add_marker(pytest.mark.skip(reason="not with LOSSKIT_TYPECHECK=1"))


# The tensors of tests are small: threads only get in each other's way, and xdist has its own.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _default_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's plugin controls are not the tests'."""
    for name in ("LOSSKIT_PLUGINS", "LOSSKIT_DISABLE", "LOSSKIT_STRICT", "LOSSKIT_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def core_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core's own losses alone, with the lab's commands: the same whatever else is there."""
    from losskit.discovery import registry

    for name in ("_state", "_controls"):
        monkeypatch.setattr(registry, name, getattr(registry, name))  # put back afterwards
    monkeypatch.setattr(registry, "_LOCAL", {})
    registry.refresh(plugins=["lab"])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Sequence[object], str], None]:
    """``refused(argv, message)``: the command ends with one line that holds ``message``, and code 1."""
    from losskit.cli import main

    def check(argv: Sequence[object], message: str) -> None:
        capsys.readouterr()
        assert main([str(word) for word in argv]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    return check


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    if not dist.is_gloo_available():
        pytest.skip("torch was built without gloo")
    store = (tmp_path / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()
