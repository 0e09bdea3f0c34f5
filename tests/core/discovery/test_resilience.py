"""Plugins that hang, patch, flood or lie: what `test_discovery` does not install for real."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import losskit
from losskit.cli import main
from losskit.discovery import loading
from losskit.errors import PluginWarning
from losskit.testing import PluginSandbox, losskit_plugins  # noqa: F401 - a fixture


@pytest.fixture
def plugin(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    losskit_plugins: PluginSandbox,  # noqa: F811
) -> Iterator[Callable[[str, str], None]]:
    """Install a plugin from its source."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def install(name: str, source: str) -> None:
        module = f"resilience_{name}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        written.append(module)
        losskit_plugins.install(name, module)

    yield install
    for module in written:
        sys.modules.pop(module, None)


def record_of(name: str) -> losskit.PluginRecord:
    return next(record for record in losskit.plugins() if record.name == name)


PATCHES = {
    "builtins": "import builtins\nbuiltins.print = lambda *a, **k: None",
    "json": "import json\njson.dumps = lambda *a, **k: 'gotcha'",
    "excepthook": "import sys\nsys.excepthook = print",
    "losskit": "import losskit.discovery.registry as r\nr.get_spec = lambda name: None",
    "specs": "from losskit import LossSpec\nLossSpec.__post_init__ = lambda self: None",
    "pluggy": "import pluggy\npluggy.PluginManager = None",
    "in-a-hook": (
        "import json\nfrom losskit import hookimpl\n"
        "@hookimpl\ndef losskit_losses():\n    json.loads = None\n    return []"
    ),
}


@pytest.mark.parametrize("patch", PATCHES)
def test_a_plugin_that_monkeypatches_is_undone_and_left_out(
    patch: str, plugin: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(f"patcher_{patch.replace('-', '_')}", PATCHES[patch])
    with pytest.warns(PluginWarning, match="it replaces"):
        record = losskit.plugins()[-1]
    assert record.status == "invalid"
    assert record.error.endswith("; that was undone")
    assert losskit.get_spec("L1Loss").qualified_name == "core/L1Loss"
    assert main(["list", "--json"]) == 0
    assert '"L1Loss"' in capsys.readouterr().out


def test_a_slow_import_is_told_while_it_lasts_and_its_time_is_shown(
    plugin: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loading, "SLOW_IMPORT_S", 0.05)
    plugin("sleepy", "import time\ntime.sleep(0.3)")
    record = record_of("sleepy")
    assert record.status == "ok"
    assert 300 <= record.import_ms < 5_000
    told = capfd.readouterr().err
    assert "plugin 'sleepy' (losskit-sleepy) has been importing for" in told
    assert "LOSSKIT_DISABLE=sleepy leaves it out" in told
    assert main(["plugins"]) == 0
    (row,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("sleepy")]
    assert f"{record.import_ms:.1f} ms" in row


def test_a_hanging_import_is_named_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    (tmp_path / "hanging_plugin.py").write_text("import time\nwhile True: time.sleep(0.05)")
    info = tmp_path / "losskit_hanging-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: losskit-hanging\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[losskit]\nhanging = hanging_plugin\n")
    code = (
        "from losskit.discovery import loading; loading.SLOW_IMPORT_S = 0.1\n"
        "from losskit.cli import main; raise SystemExit(main(['list']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "LOSSKIT_PLUGINS": "hanging"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        told = process.stderr.readline()  # comes although the import never returns
        assert "plugin 'hanging' (losskit-hanging) has been importing for" in told
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert rest.strip() == "losskit: stopped"


def test_disabled_it_is_never_imported(
    plugin: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("bomb", "raise SystemError('imported')")
    monkeypatch.setenv("LOSSKIT_DISABLE", "bomb")
    losskit.refresh()
    assert record_of("bomb").status == "disabled"
    assert "resilience_bomb" not in sys.modules


def test_a_flood_of_specs_takes_no_time(losskit_plugins: PluginSandbox) -> None:  # noqa: F811
    made = itertools.count()

    def flood() -> Iterator[losskit.LossSpec]:
        while True:
            yield losskit.LossSpec(f"Flood{next(made)}", "a:b")

    losskit_plugins.install("flood", losses=flood())
    start = time.perf_counter()
    with pytest.warns(PluginWarning, match="returned more than 5000 specs"):
        assert record_of("flood").status == "invalid"
    assert time.perf_counter() - start < 5
    assert next(made) <= loading.MAX_SPECS + 1  # not one more was asked for


def test_a_spec_class_of_its_own_cannot_hurt(losskit_plugins: PluginSandbox) -> None:  # noqa: F811
    @dataclass(frozen=True)
    class Evil(losskit.LossSpec):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError("no")

    losskit_plugins.install("evil", losses=[object.__new__(Evil)])
    with pytest.warns(PluginWarning, match="RuntimeError: no"):
        assert record_of("evil").status == "invalid"
    assert losskit.create("L1Loss")


def test_a_plugin_that_asks_for_losses_while_it_is_imported(
    plugin: Callable[[str, str], None],
) -> None:
    plugin(
        "curious",
        """
        import losskit
        known = [spec.name for spec in losskit.list_losses()]

        @losskit.hookimpl
        def losskit_losses():
            return [losskit.LossSpec("CuriousLoss", "a:b")]
        """,
    )
    assert record_of("curious").losses == ("CuriousLoss",)


def test_warnings_as_errors_in_the_caller_do_not_break_discovery(
    plugin: Callable[[str, str], None],
) -> None:
    plugin("noisy", "import warnings\nwarnings.warn('old', DeprecationWarning)")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.simplefilter("error", DeprecationWarning)
        assert record_of("noisy").status == "import-error"  # the caller asked for errors
    assert record_of("noisy").error == "DeprecationWarning: old"
    assert losskit.create("L1Loss")
