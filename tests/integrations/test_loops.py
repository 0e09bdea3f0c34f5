"""The four loops of examples/integrations train, and, given the same data, do the same thing."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "integrations"
STEPS_AN_EPOCH = 4


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Import a file of the example the way ``python FILE`` would."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load_module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load_module
    for name in ("denoiser", "plain_loop", "lightning_module", "accelerate_loop", "hf_trainer"):
        if name not in before:
            sys.modules.pop(name, None)


def check(totals: list[float], epochs: int) -> None:
    assert len(totals) == epochs * STEPS_AN_EPOCH
    last = sum(totals[-STEPS_AN_EPOCH:]) / STEPS_AN_EPOCH
    assert last < 0.9 * totals[0]


def test_plain_loop(load, capsys) -> None:
    check(load("plain_loop").train(6), 6)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "loss_charbonnier" in line
    assert "psnr -" in line  # monitored: logged, not optimised


def test_accelerate_is_the_plain_loop(load) -> None:
    pytest.importorskip("accelerate")
    expected = load("plain_loop").train(2)
    assert load("accelerate_loop").train(2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore")  # Lightning's own advice about workers and intervals
def test_lightning_is_the_plain_loop(load) -> None:
    pytest.importorskip("lightning")
    expected = load("plain_loop").train(2)
    assert load("lightning_module").train(2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_hf_trainer(load, tmp_path) -> None:
    pytest.importorskip("transformers")
    check(load("hf_trainer").train(6, str(tmp_path)), 6)
