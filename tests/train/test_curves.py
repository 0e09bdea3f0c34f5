"""The curves of a run: what is drawn, where, and what a wrong folder is answered with."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from losskit.cli import main
from losskit_train.output.curves import loss_curves

ROWS = [
    {"step": 10.0, "loss_gen": 1.0, "total_gen": 1.0},
    {"step": 20.0, "loss_gen": 3.0, "loss_r1_gp": 1e-3, "total_gen": 3.0},
    {"step": 30.0, "loss_gen": 2.0, "total_gen": 2.0},
    {"step": 40.0, "loss_gen": 2.0, "loss_r1_gp": 3e-3, "total_gen": 2.0},
]


def _lines(svg):
    paths = re.findall(r'<path d="([^"]+)"', svg)
    return [
        [tuple(map(float, pair.split())) for pair in re.split("[ML]", path) if pair.strip()]
        for path in paths
    ]


def _words(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_each_value_has_a_panel_on_its_own_scale():
    svg = loss_curves(ROWS, title="A run")
    words = _words(svg)
    assert {"A run", "gen", "r1_gp"} <= set(words)
    assert "total_gen" not in words
    gen, r1 = _lines(svg)
    assert len(gen) == 4
    assert len(r1) == 2  # a lazy penalty: only the steps that have it
    heights = [y for _, y in gen]
    assert heights.index(min(heights)) == 1  # the largest value stands highest
    assert heights[2] == heights[3]
    assert [b[0] - a[0] for a, b in pairwise(gen)] == pytest.approx([55] * 3)
    # Each uses its panel's height, however small its values are.
    assert max(y for _, y in r1) - min(y for _, y in r1) == pytest.approx(
        max(heights) - min(heights), abs=0.2
    )


def test_chosen_values_and_constant_ones():
    assert len(_lines(loss_curves(ROWS, names=["total_gen"]))) == 1
    assert len(_lines(loss_curves([{"step": 1.0, "loss": 0.0}, {"step": 2.0, "loss": 0.0}]))) == 1
    broken = [{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": float("nan")}]
    assert "nan" not in loss_curves(broken)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: loss_curves([]), "rows hold no values"),
        (lambda: loss_curves([{"loss_gen": 1.0}]), "rows must have a 'step' each"),
        (lambda: loss_curves(ROWS, names=["loss_g"]), "no row has 'loss_g'; there are loss_gen"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_command(tmp_path, capsys):
    assert main(["curves", str(tmp_path)]) == 1
    assert "metrics.csv is missing" in capsys.readouterr().err
    (tmp_path / "metrics.csv").write_text("step,loss_gen\n1,0.5\n2,0.25\n")
    assert main(["curves", str(tmp_path), "--title", "Mine"]) == 0
    drawn = (tmp_path / "curves.svg").read_text()
    assert "Mine" in drawn
    (tmp_path / "curves.svg").unlink()
    assert main(["curves", str(tmp_path / "metrics.csv"), "--title", "Mine"]) == 0
    assert (tmp_path / "curves.svg").read_text() == drawn
    for rows, message in (("1,x", "could not convert"), ("1,2,3", "")):
        (tmp_path / "metrics.csv").write_text(f"step,loss_gen\n{rows}\n")
        assert main(["curves", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert f"metrics.csv is no record of a run: {message}" in error
        assert error.count("\n") == 1
