"""Discovery against real installed distributions, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from processes import imported_by

HEALTHY = """
from losskit import LossSpec, hookimpl

@hookimpl
def losskit_losses():
    return [LossSpec("{name}", "{module}_losses:Mean", summary="The mean.", tags=("toy",))]
"""
LOSSES = """
from losskit.losses.base import Loss

class Mean(Loss):
    def forward(self, pred):
        return pred.mean()
"""

OFFICIAL = "losskit-gan,losskit-train,losskit-perceptual,losskit-clip,losskit-identity"


class Site:
    """A folder that distributions are installed into and that is put on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.install("healthy", plugin=HEALTHY.format(name="HealthyLoss", module="healthy"))
        (folder / "healthy_losses.py").write_text(LOSSES)

    def install(
        self,
        name: str,
        plugin: str | None = "",
        *,
        entry: str | None = None,
        distribution: str | None = None,
        version: str = "1.0",
        folder: Path | None = None,
    ) -> None:
        """Write what installing a wheel leaves: a module, METADATA and entry_points.txt."""
        folder = folder or self.folder
        distribution = distribution or f"losskit-{name}"
        module = f"{distribution.replace('-', '_')}_plugin"
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[losskit]\n{entry or name} = {module}\n")
        if plugin is not None:
            (folder / f"{module}.py").write_text(textwrap.dedent(plugin))

    def python(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh process; official plugins are shut out but for the core."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("LOSSKIT_")}
        env |= {"LOSSKIT_DISABLE": OFFICIAL, "PYTHONWARNINGS": "default"}
        env |= {"PYTHONPATH": str(self.folder), **environment}
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ask(self, expression: str, **environment: str) -> Any:
        """The value of an expression, through JSON."""
        code = f"import json, sys, losskit\nprint('@@' + json.dumps({expression}))"
        done = self.python(code, **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("@@"), f"something else was printed: {done.stdout!r}"
        return json.loads(done.stdout[2:])

    def records(self, **environment: str) -> dict[str, dict[str, Any]]:
        """Every plugin's record by distribution; the healthy plugin must work beside them."""
        expression = (
            "{'records': [{**{k: getattr(r, k) for k in r.__dataclass_fields__}} for r in"
            " losskit.plugins()], 'losses': [s.qualified_name for s in losskit.list_losses()],"
            " 'torch': 'torch' in sys.modules}"
        )
        found = self.ask(expression, **environment)
        if not environment:
            assert "healthy/HealthyLoss" in found["losses"]
            assert "core/L1Loss" in found["losses"]
        self.losses, self.imports_torch = found["losses"], found["torch"]
        return {record["distribution"]: record for record in found["records"]}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_healthy_plugin(site: Site) -> None:
    record = site.records()["losskit-healthy"]
    assert record["status"] == "ok"
    assert record["version"] == "1.0"
    assert record["losses"] == ["HealthyLoss"]
    assert record["error"] == record["hint"] == ""
    assert record["import_ms"] > 0
    assert not site.imports_torch
    value = site.ask(
        "__import__('torch') and losskit.create('HealthyLoss')(__import__('torch').ones(2)).item()"
    )
    assert value == 1.0


HOOK = "from losskit import LossSpec, hookimpl\n"
FAULTS = {
    "raises at import": (
        "raise RuntimeError('two\\nlines')",
        "import-error",
        "RuntimeError: two lines",
    ),
    "syntax error": ("def (", "import-error", "SyntaxError: "),
    "exits at import": ("import sys; sys.exit(3)", "import-error", "SystemExit: 3"),
    "raises beyond Exception": (
        "class Odd(BaseException): pass\nraise Odd('x')",
        "import-error",
        "Odd: x",
    ),
    "needs what is not there": (
        "import a_package_that_is_not_there.part",
        "import-error",
        "No module named 'a_package_that_is_not_there'",
    ),
    "returns rubbish": (
        HOOK + "@hookimpl\ndef losskit_losses(): return [LossSpec('A', 'a:B'), 42]",
        "invalid",
        "TypeError: losskit_losses() must return LossSpecs, not 42",
    ),
    "returns a number": (
        HOOK + "@hookimpl\ndef losskit_losses(): return 42",
        "invalid",
        "losskit_losses() must return LossSpecs, not 42",
    ),
    "returns a string": (
        HOOK + "@hookimpl\ndef losskit_losses(): return 'L1Loss'",
        "invalid",
        "must return LossSpecs, not 'L1Loss'",
    ),
    "a bad spec": (
        HOOK + "@hookimpl\ndef losskit_losses(): return [LossSpec('A Loss', 'a:B')]",
        "invalid",
        "ValueError: 'A Loss' is not a loss name",
    ),
    "raises in the hook": (
        HOOK + "@hookimpl\ndef losskit_losses(): raise KeyError('x')",
        "invalid",
        "KeyError: 'x'",
    ),
    "exits in the hook": (
        HOOK + "@hookimpl\ndef losskit_losses(): raise SystemExit('bye')",
        "invalid",
        "SystemExit: bye",
    ),
    "raises half way": (
        HOOK
        + "@hookimpl\ndef losskit_losses():\n  yield LossSpec('A', 'a:B')\n  raise OSError('x')",
        "invalid",
        "OSError: x",
    ),
    "one name twice": (
        HOOK
        + "@hookimpl\ndef losskit_losses(): return [LossSpec('A', 'a:B'),"
        + " LossSpec('C', 'a:B', aliases=('A',))]",
        "invalid",
        "returned the name 'A' twice",
    ),
    "a million specs": (
        HOOK
        + "@hookimpl\ndef losskit_losses(): return (LossSpec(f'A{i}', 'a:B') for i in range(10**6))",
        "invalid",
        "losskit_losses() returned more than 5000 specs",
    ),
    "specs without end": (
        HOOK
        + "import itertools\n@hookimpl\ndef losskit_losses():"
        + " return (LossSpec(f'A{i}', 'a:B') for i in itertools.count())",
        "invalid",
        "more than 5000 specs",
    ),
    "an unknown hook": (
        HOOK + "@hookimpl\ndef losskit_loses(): return []",
        "invalid",
        "there is no hook 'losskit_loses'; did you mean 'losskit_losses'?",
    ),
    "a hook with unknown arguments": (
        HOOK + "@hookimpl\ndef losskit_losses(registry): return []",
        "invalid",
        "PluginValidationError: ",
    ),
    "weights in the wrong hook": (
        HOOK + "@hookimpl\ndef losskit_weights(): return [LossSpec('A', 'a:B')]",
        "invalid",
        "losskit_weights() must return WeightsSpecs",
    ),
    "a newer api": ("api = 99", "incompatible", "it is written for plugin API 99; this losskit"),
    "an older api": ("api = 0", "incompatible", "it is written for plugin API 0"),
    "an api that is no number": ("api = '1'", "invalid", "api must be a whole number, not '1'"),
    "entry point to nothing": (None, "import-error", "No module named 'losskit_faulty_plugin'"),
}


@pytest.fixture(scope="module")
def all_faults(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, dict[str, dict[str, Any]]]:
    """Every fault installed side by side: none hurts another, and one process tells of all."""
    site = Site(tmp_path_factory.mktemp("site"))
    for index, (plugin, _, _) in enumerate(FAULTS.values()):
        if plugin is None:
            site.install("faulty", None)
        else:
            site.install(f"faulty{index}", plugin)
    return site, site.records()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plugin_is_told_of_and_hurts_nobody(fault: str, all_faults) -> None:
    _, records = all_faults
    plugin, status, error = FAULTS[fault]
    name = "losskit-faulty" + ("" if plugin is None else str(list(FAULTS).index(fault)))
    record = records[name]
    assert record["status"] == status
    assert error in record["error"]
    assert "\n" not in record["error"] + record["hint"]
    assert record["hint"]
    assert record["losses"] == []
    assert records["losskit-healthy"]["status"] == "ok"


def test_hints(all_faults) -> None:
    _, records = all_faults
    hints = {
        fault: records[f"losskit-faulty{index}"]["hint"]
        for index, fault in enumerate(FAULTS)
        if FAULTS[fault][0] is not None
    }
    assert hints["needs what is not there"].startswith(
        "pip install a_package_that_is_not_there, or"
    )
    assert hints["a newer api"] == "upgrade losskit"
    assert hints["an older api"].startswith("upgrade losskit-faulty")
    assert hints["raises at import"].startswith("reinstall or upgrade losskit-faulty")
    assert "LOSSKIT_DISABLE=faulty" in hints["returns rubbish"]
    assert records["losskit-faulty"]["hint"] == (
        "its entry point names 'losskit_faulty_plugin', which is not there: reinstall losskit-faulty"
    )


def test_the_command_line_lists_the_others(all_faults) -> None:
    site, _ = all_faults
    done = site.python(
        """
        import sys
        from losskit.cli import main
        code = main(["list", "--json"])
        assert code == 0, code
        assert "torch" not in sys.modules
        """
    )
    assert done.returncode == 0, done.stderr
    names = {loss["qualified_name"] for loss in json.loads(done.stdout)["losses"]}
    assert "healthy/HealthyLoss" in names
    assert "Traceback" not in done.stderr


def test_warned_of_once_and_not_in_the_way(site: Site) -> None:
    site.install("bad", "raise RuntimeError('boom')")
    done = site.python("import losskit; losskit.list_losses(); losskit.list_losses()")
    assert done.returncode == 0
    assert done.stderr.count("PluginWarning") == 1
    assert "plugin 'bad' (losskit-bad 1.0): import-error: RuntimeError: boom" in done.stderr


def test_strict_raises_every_time(site: Site) -> None:
    site.install("bad", "raise RuntimeError('boom')")
    done = site.python(
        """
        import losskit
        for _ in range(2):
            try:
                losskit.list_losses()
            except losskit.errors.PluginError as error:
                assert "boom" in str(error) and type(error.__cause__) is RuntimeError
                print("raised")
        """,
        LOSSKIT_STRICT="1",
    )
    assert done.stdout.split() == ["raised", "raised"], done.stderr


@pytest.mark.parametrize("name", ["bad/AnyLoss", "AnyLoss"])
def test_a_broken_plugins_loss_raises_with_the_cause(site: Site, name: str) -> None:
    site.install("bad", "raise RuntimeError('boom')")
    done = site.python(
        f"""
        import losskit
        try:
            losskit.get_spec({name!r})
        except losskit.LosskitError as error:
            print(error, "|", repr(error.__cause__))
        """
    )
    message, _, cause = done.stdout.partition(" | ")
    assert "bad" in message
    assert "import-error" in message
    assert cause.strip() == "RuntimeError('boom')"


def test_an_official_loss_of_a_broken_official_plugin(site: Site) -> None:
    site.install("gan", "raise RuntimeError('boom')", version="9")
    done = site.python(
        """
        import losskit
        try:
            losskit.get_spec("GANLoss")
        except losskit.errors.PluginError as error:
            print(error, "|", repr(error.__cause__))
        """,
        LOSSKIT_DISABLE="",
        LOSSKIT_PLUGINS="gan",
    )
    assert done.stdout.strip() == (
        "'GANLoss' belongs to plugin 'gan' (losskit-gan 9), which is import-error: "
        "RuntimeError: boom | RuntimeError('boom')"
    )


@pytest.mark.parametrize("deep", [False, True])
def test_a_plugin_that_imports_torch_works_but_is_told_of(site: Site, deep: bool) -> None:
    plugin = HEALTHY.format(name="HeavyLoss", module="healthy")
    (site.folder / "torch.py").write_text("")  # the true one takes seconds
    if deep:
        (site.folder / "heavy_helper.py").write_text("x = 1\n\nimport torch\n")
        site.install("heavy", "import heavy_helper\n" + plugin)
    else:
        site.install("heavy", "import torch\n" + plugin)
    record = site.records()["losskit-heavy"]
    assert record["status"] == "heavy-import"
    where = "heavy_helper.py:3" if deep else "losskit_heavy_plugin.py:1"
    assert record["error"] == f"imports torch at {where}"
    assert record["hint"] == "move that import into the module that LossSpec.target names"
    assert "heavy/HeavyLoss" in site.losses


def test_what_a_plugin_prints_is_not_in_our_output(site: Site) -> None:
    site.install("chatty", "print('welcome to chatty!')\n" + HEALTHY.format(name="A", module="b"))
    assert site.records()["losskit-chatty"]["status"] == "ok"  # `ask` fails on other output


class TestNames:
    def test_two_that_claim_one_namespace(self, site: Site) -> None:
        for distribution in ("first-toys", "second-toys"):
            plugin = HEALTHY.format(name="ToyLoss", module="healthy")
            site.install("toys", plugin, distribution=distribution)
        records = site.records()
        assert {records[f"{n}-toys"]["status"] for n in ("first", "second")} == {"conflict"}
        assert records["first-toys"]["error"] == "second-toys 1.0 also claims the name 'toys'"
        assert "LOSSKIT_DISABLE" in records["first-toys"]["hint"]
        assert "toys/ToyLoss" not in site.losses
        # and the hint's way out works
        records = site.records(LOSSKIT_DISABLE=f"{OFFICIAL},first-toys")
        assert records["first-toys"]["status"] == "disabled"
        assert records["second-toys"]["status"] == "ok"
        assert "toys/ToyLoss" in site.losses

    @pytest.mark.parametrize("name", ["core", "gan", "local"])
    def test_a_reserved_namespace(self, site: Site, name: str) -> None:
        site.install(name, HEALTHY.format(name="Evil", module="healthy"), distribution="evil")
        record = site.records()["evil"]
        assert record["status"] == "conflict"
        assert f"the namespace '{name}' is reserved for losskit" in record["error"]
        assert f"{name}/Evil" not in site.losses

    def test_an_entry_point_seen_twice_counts_once(self, site: Site) -> None:
        # What an editable install beside a wheel's remains looks like: two places on the path.
        plugin = HEALTHY.format(name="TwiceLoss", module="healthy")
        site.install("twice", plugin)
        site.install("twice", plugin, folder=site.folder / "other", version="0.9")
        done = site.ask(
            "[r.version for r in losskit.plugins() if r.name == 'twice' and r.status == 'ok']",
            PYTHONPATH=f"{site.folder}{os.pathsep}{site.folder / 'other'}",
        )
        assert done == ["1.0"]

    def test_one_distribution_spelled_in_two_ways(self, site: Site) -> None:
        plugin = HEALTHY.format(name="TwiceLoss", module="healthy")
        site.install("twice", plugin, distribution="losskit-twice")
        info = site.folder / "losskit.twice-1.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Losskit_Twice\nVersion: 1.1\n")
        (info / "entry_points.txt").write_text("[losskit]\ntwice = losskit_twice_plugin\n")
        assert [r["status"] for d, r in site.records().items() if "wice" in d] == ["ok"]

    def test_a_bare_name_of_two_plugins(self, site: Site) -> None:
        for name, version in (("one", "1.0"), ("two", "2.5")):
            plugin = HEALTHY.format(name="SameLoss", module="healthy")
            site.install(name, plugin, version=version)
        done = site.python(
            """
            import losskit
            try:
                losskit.get_spec("SameLoss")
            except losskit.errors.AmbiguousLossError as error:
                print(error)
            print(losskit.get_spec("two/SameLoss").namespace)
            """
        )
        assert done.stdout.splitlines() == [
            "'SameLoss' is supplied by several plugins: one/SameLoss (losskit-one 1.0), "
            "two/SameLoss (losskit-two 2.5)",
            "two",
        ], done.stderr

    def test_damaged_metadata_is_one_distributions_fault(self, site: Site) -> None:
        info = site.folder / "damaged-1.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text("[losskit]\ndamaged = damaged_plugin\n")
        site.records()


class TestControls:
    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"LOSSKIT_PLUGINS": "healthy"}, {"healthy": "ok", "bad": "disabled", "core": "ok"}),
            ({"LOSSKIT_PLUGINS": "losskit_Healthy"}, {"healthy": "ok", "bad": "disabled"}),
            ({"LOSSKIT_PLUGINS": ""}, {"healthy": "disabled", "bad": "disabled", "core": "ok"}),
            ({"LOSSKIT_DISABLE": "bad"}, {"healthy": "ok", "bad": "disabled", "core": "ok"}),
            ({"LOSSKIT_DISABLE": " bad , healthy"}, {"healthy": "disabled", "bad": "disabled"}),
            ({"LOSSKIT_DISABLE": "losskit-bad"}, {"healthy": "ok", "bad": "disabled"}),
        ],
    )
    def test_environment_acts_before_import(self, site: Site, environment, expected) -> None:
        site.install("bad", "import pathlib; pathlib.Path(__file__).with_name('ran').touch()")
        official = {"LOSSKIT_DISABLE": f"{OFFICIAL},{environment.get('LOSSKIT_DISABLE', '')}"}
        records = site.records(**{**environment, **official})
        found = {r["name"]: r["status"] for r in records.values()}
        assert expected.items() <= found.items()
        assert not (site.folder / "ran").exists()

    def test_refresh_sees_what_was_installed_meanwhile(self, site: Site) -> None:
        done = site.python(
            f"""
            import importlib, pathlib, losskit
            before = {{p.name for p in losskit.plugins()}}
            folder = pathlib.Path({str(site.folder)!r})
            (folder / "late_plugin.py").write_text("")
            info = folder / "late-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: late\\nVersion: 1\\n")
            (info / "entry_points.txt").write_text("[losskit]\\nlate = late_plugin\\n")
            assert {{p.name for p in losskit.plugins()}} == before
            losskit.refresh()
            print({{p.name for p in losskit.plugins()}} - before)
            losskit.refresh(plugins=["healthy"])
            print(sorted(p.name for p in losskit.plugins() if p.status == "ok"))
            losskit.refresh()
            print("late" in [p.name for p in losskit.plugins() if p.status == "ok"])
            """
        )
        assert done.stdout.splitlines() == ["{'late'}", "['core', 'healthy']", "True"], done.stderr

    def test_no_plugins_on_the_command_line(self, site: Site) -> None:
        done = site.python("from losskit.cli import main; main(['--no-plugins', 'list', '--json'])")
        assert {loss["plugin"] for loss in json.loads(done.stdout)["losses"]} == {"core"}


def test_threads_discover_once(site: Site) -> None:
    site.install("slow", "import time; time.sleep(0.2); open(__file__ + '.log', 'a').write('x')\n")
    done = site.python(
        """
        import losskit
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: len(losskit.list_losses()), range(8)))
        assert len(set(results)) == 1
        """
    )
    assert done.returncode == 0, done.stderr
    assert (site.folder / "losskit_slow_plugin.py.log").read_text() == "x"


@pytest.mark.parametrize(
    "code",
    ["import losskit; losskit.list_losses()", "import losskit; dir(losskit); losskit.__version__"],
)
def test_importing_and_listing_import_no_torch(code: str) -> None:
    heavy = ("torch", "torchvision", "numpy", "yaml", "PIL", "open_clip")
    assert imported_by(code, *heavy) == []


def test_an_unknown_attribute() -> None:
    import losskit

    with pytest.raises(AttributeError, match="module 'losskit' has no attribute 'Looss'"):
        losskit.Looss
