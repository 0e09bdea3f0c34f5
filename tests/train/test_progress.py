"""The bar in narrow and wide terminals, and in a pipe."""

from __future__ import annotations

import re

import pytest

from losskit_train.output.progress import Progress, fitting

LOSSES = {f"loss_{name}": 0.838 for name in ("disc_fake", "disc_real", "gen", "r1", "pixel")}


def shown(capsys, steps: int = 20) -> list[str]:
    with Progress(20000, 0, shown=True) as bar:
        for _ in range(steps):
            bar.advance()
        bar.show(LOSSES)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_step_total_and_time_stay_and_losses_give_way(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    line = shown(capsys)[-1]
    assert len(line) <= width
    found = re.match(r"step +20/20000 .* (\d+:\d\d:\d\d|-:--:--) *(.*)", line)
    assert found
    assert "…" not in line
    whole = fitting(LOSSES, 1000)
    assert whole.startswith(found[2])
    assert (found[2] == whole) == (width == 120)


def test_a_pipe_gets_a_line_each_time(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    (line,) = shown(capsys)
    assert re.fullmatch(r"step 20/20000(, \d+ s left)?: .*pixel 0\.838", line)


def test_losses_are_left_out_last_to_first():
    assert fitting({"loss_a": 1.0, "b": 2.0, "c": 3.0}, 8) == "a 1  b 2"
    assert fitting({"loss_a": 1.0}, 2) == ""
