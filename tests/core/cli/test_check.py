"""``losskit check``: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

import losskit
from losskit.cli import main
from losskit.testing import PluginSandbox, all_checks, losskit_plugins  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("losskit_plugins")


def test_a_loss_that_conforms_is_green(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "L1Loss", "--only", "scalar,gradients", "--only", "finite"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("✓ core/L1Loss: 3 of 3 checks passed\n")
    assert out.splitlines()[-1].startswith("3 checks in ")
    assert out.rstrip().endswith("all green")


def leaky(pred: Tensor, target: Tensor) -> Tensor:
    """Without any of what is asked for."""
    return (pred - target).abs().mean()


def leaky_example(batch: int = 2, height: int = 8, width: int = 8) -> losskit.Example:
    pred, target = torch.rand(2, batch, 3, height, width).unbind()
    return losskit.Example(inputs={"pred": pred, "target": target}, frozen=("target",))


@pytest.fixture
def broken(losskit_plugins: PluginSandbox, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    import sys
    from types import ModuleType

    module = ModuleType("leaky_losses")
    module.leaky, module.leaky_example = leaky, leaky_example  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "leaky_losses", module)
    spec = losskit.LossSpec("LeakyLoss", "leaky_losses:leaky", example="leaky_losses:leaky_example")
    losskit_plugins.install("leaky", losses=[spec])


def test_verbose_names_what_passed_and_what_does_not_apply(
    broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "LeakyLoss", "-v", "--only", "scalar,reduction"]) == 0
    out = capsys.readouterr().out
    assert "    ✓ scalar\n" in out
    assert "    · reduction: the loss takes no reduction\n" in out
    assert "1 of 1 checks passed" in out


def test_failures_say_what_why_and_how_to_mend(
    broken: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "LeakyLoss", "--only", "spec,gradients,scalar"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("✗ leaky/LeakyLoss: 1 of 3 checks passed\n")
    assert "    ✗ spec: leaky/LeakyLoss has no summary. To mend it: " in out
    assert "    ✗ gradients: a gradient flows into 'target'" in out
    assert "      why: Listings, docs and citations" in out
    assert out.rstrip().endswith("2 failed")


def test_json_holds_every_result(broken: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "leaky", "--json", "--only", "spec,scalar,loads"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    assert report["ok"] is False
    assert [(r["subject"], r["check"], r["status"]) for r in report["results"]] == [
        ("leaky", "loads", "passed"),
        ("leaky/LeakyLoss", "spec", "failed"),
        ("leaky/LeakyLoss", "scalar", "passed"),
    ]
    assert set(report["results"][0]) == {
        "subject", "check", "status", "message", "why", "seconds",
    }  # fmt: skip


def test_the_list_of_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["checks"]
    assert [check["id"] for check in listed] == [check.id for check in all_checks()]
    assert main(["check", "--list"]) == 0
    assert "gradcheck" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name a plugin or a loss"),
        (["NoLoss"], 1, "no loss is called 'NoLoss'"),
        (["L1Loss", "--only", "gradchek"], 1, "no check 'gradchek'; did you mean 'gradcheck'?"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out
