"""``losskit doctor`` and ``losskit plugins --requirements``: what they find, and their exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Callable

import pytest

from losskit.cli import main

Findings = Callable[[], tuple[int, dict[str, dict[str, str]]]]
MISMATCH = (
    "Traceback (most recent call last):\nRuntimeError: operator torchvision::nms does not exist\n"
)


#: What `verify_weights` says → the finding's level, and how its text begins.
JUDGED = {
    "ok": ("ok", "at "),
    "missing": ("note", "missing"),
    "wrong": ("problem", "wrong"),
    "recorded": ("note", "no checksum known; the file that came first"),
    "unrecorded": ("note", "no checksum known, and none recorded yet"),
}


@pytest.fixture
def findings(capsys: pytest.CaptureFixture[str]) -> Findings:
    def run() -> tuple[int, dict[str, dict[str, str]]]:
        code = main(["doctor", "--json"])
        shown = json.loads(capsys.readouterr().out)
        assert shown["schema"] == 1
        return code, {finding["subject"]: finding for finding in shown["findings"]}

    return run


def _importing_gives(monkeypatch: pytest.MonkeyPatch, code: int, errors: str) -> None:
    done = subprocess.CompletedProcess([], code, stdout="2.15.0 False 2\n0.29.0\n", stderr=errors)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch and torchvision works."""
    _importing_gives(monkeypatch, 0, "")


def test_a_sound_installation_is_found_sound(findings: Findings) -> None:
    code, found = findings()
    assert code == 0
    assert found["torch and torchvision"]["level"] == "ok"
    assert found["plugin core 0.1.0"]["text"].startswith("ok, 10 losses")


def test_a_mismatch_of_torch_and_torchvision_is_recognised(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _importing_gives(monkeypatch, 1, MISMATCH)
    code, found = findings()
    assert code == 1
    assert found["torch and torchvision"]["level"] == "problem"
    assert "pip install torchvision" in found["torch and torchvision"]["hint"]
    assert found["networks"]["text"] == "not looked up: torch or torchvision fails"


@pytest.mark.usefixtures("sound")
def test_a_plugin_control_that_names_nothing_is_a_problem(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSSKIT_DISABLE", "perceptul")
    code, found = findings()
    assert code == 1
    assert "did you mean 'perceptual'" in found["LOSSKIT_DISABLE"]["text"]


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("status", JUDGED)
def test_weights_are_judged_by_their_checksum(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr("losskit.weights.verify_weights", lambda _: status)
    code, found = findings()
    finding, (level, text) = found["weights light-cnn-dic"], JUDGED[status]
    assert finding["level"] == level
    assert finding["text"].startswith(text)
    assert code == (level == "problem")


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("package", "level", "hint"),
    [
        ("numpy", "note", "pip install 'losskit[images]'"),
        ("timm", "note", "pip install 'losskit-perceptual[timm]'"),
        ("safetensors", "note", "pip install 'losskit-train[export]'"),
        ("open-clip-torch", "problem", "pip install open-clip-torch"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, package: str, level: str, hint: str
) -> None:
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, found = findings()
    assert (found[package]["level"], found[package]["hint"]) == (level, hint)
    assert code == (level == "problem")


def test_requirements_pin_what_supplied_the_losses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--requirements"]) == 0
    assert "losskit-gan==0.1.0" in capsys.readouterr().out.splitlines()
