"""Training an example of the gan plugin at toy length, as its README says."""

from __future__ import annotations

from pathlib import Path

import pytest
from docblocks import assert_shown
from doccommands import TOY
from processes import run_python

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def train_toy(tmp_path, monkeypatch):
    """Train ``examples/NAME``, or a config, for three steps into ``run``; gives its metrics."""
    pytest.importorskip("skimage")
    pytest.importorskip("lightning_fabric")
    from losskit.cli import main
    from losskit_train.output import curves
    from losskit_train.output.recorder import read_metrics

    monkeypatch.chdir(tmp_path)

    def train(name, *overrides):
        config = name if isinstance(name, Path) else EXAMPLES / name / "config.yaml"
        assert main(["train", str(config), *TOY, "out=run", *overrides]) == 0
        rows = read_metrics(Path("run/metrics.csv"))
        assert [row["step"] for row in rows] == [1, 2, 3]
        assert Path("run/samples/step-00000003.png").is_file()
        # The drawing the README shows, of this run.
        curves.draw_run(Path("run"))
        drawn = Path("run/curves.svg").read_text(encoding="utf-8")
        names = {name for row in rows for name in row if name.startswith("loss_")}
        assert all(f">{name.removeprefix('loss_')}<" in drawn for name in names)
        return rows

    return train


@pytest.fixture
def run_random(tmp_path):
    """Run ``examples/NAME/run.py`` with random weights, and check what its README shows of that."""

    def run(name, steps):
        script = EXAMPLES / name / "run.py"
        done = run_python(script, "--steps", steps, "--out", tmp_path, "--weights", "random")
        assert done.returncode == 0, done.stderr
        assert_shown(script.with_name("README.md"), done.stdout)
        return done.stdout

    return run
