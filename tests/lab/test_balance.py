"""Gradient balance, against gradients that are known in closed form."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from losskit import Objective
from losskit.cli import main
from losskit.cli.svg import number, ticks
from losskit.errors import ConfigError, LosskitError, MissingOutputError
from losskit.losses.base import Loss
from losskit.objectives.balance import report
from losskit.objectives.term import Term
from losskit_lab.balance.command import parse_ratio
from losskit_lab.balance.drawing import draw


def batch(gap: float = 0.1) -> dict[str, torch.Tensor]:
    return {"pred": torch.full((1, 3, 8, 8), 0.5 + gap), "target": torch.full((1, 3, 8, 8), 0.5)}


N = 3 * 8 * 8  # elements; the gradient of the mean |d| is 1/N each, that of the mean d² is 2d/N


def test_norms_and_shares_are_the_closed_forms() -> None:
    objective = Objective([{"type": "L1Loss", "loss_weight": 2}, {"type": "MSELoss"}])
    result = report(objective, [batch(0.1), batch(0.3)])
    l1, mse = result.terms
    assert l1.norm == pytest.approx(2 / math.sqrt(N))
    assert mse.norm == pytest.approx(2 * 0.2 / math.sqrt(N))  # mean of gaps .1 and .3
    assert mse.deviation == pytest.approx(2 * 0.2 / math.sqrt(2) / math.sqrt(N))
    assert l1.share == pytest.approx(2 / 2.4)
    assert l1.value == pytest.approx(2 * 0.2)
    assert l1.alignment == pytest.approx(1)
    assert result.batches == 2


def test_proposed_weights_give_the_wished_ratio() -> None:
    terms = [{"type": "L1Loss", "loss_weight": 2}, {"type": "MSELoss", "loss_weight": 5}]
    result = report(Objective(terms), [batch()], ratio={"loss_mse": 3})
    proposed = {term.name: term.proposed for term in result.terms}
    assert proposed["loss_l1"] == 2  # the first keeps its weight
    for config, term in zip(terms, result.terms, strict=True):
        config["loss_weight"] = term.proposed
    shares = [term.share for term in report(Objective(terms), [batch()]).terms]
    assert shares == pytest.approx([0.25, 0.75])


def test_objectives_report_is_the_same() -> None:
    objective = Objective([{"type": "L1Loss"}, {"type": "MSELoss"}])
    ratio = {"loss_l1": 3.0}
    assert objective.report([batch()], ratio=ratio) == report(objective, [batch()], ratio=ratio)


def test_terms_that_pull_apart_are_seen() -> None:
    terms = [
        {"type": "MSELoss"},
        {"type": "MSELoss", "loss_weight": 0.5, "data_info": {"pred": "pred", "target": "other"}},
    ]
    outputs = {**batch(), "other": torch.full((1, 3, 8, 8), 0.7)}
    result = report(Objective(terms), [outputs])
    assert [term.name for term in result.terms] == ["loss_mse", "loss_mse[2]"]
    assert [term.alignment for term in result.terms] == pytest.approx([1, -1])


class Parts(Loss):
    def components(self, pred, target):
        return {"near": (pred - target).abs().mean(), "far": 3 * (pred - target).abs().mean()}


def test_parts_of_a_loss_are_reported() -> None:
    result = report(Objective([Term(Parts(), loss_weight=2)]), [batch()])
    (term,) = result.terms
    assert term.parts == pytest.approx({"near": 2 / math.sqrt(N), "far": 6 / math.sqrt(N)})
    assert term.norm == pytest.approx(8 / math.sqrt(N))


def test_a_networks_parameters_and_given_graphs() -> None:
    layer = torch.nn.Conv2d(3, 3, 1, bias=False)
    outputs = {"pred": layer(torch.rand(1, 3, 4, 4)), "target": torch.rand(1, 3, 4, 4)}
    objective = Objective([{"type": "MSELoss"}])
    (term,) = report(objective, [outputs], wrt=layer.parameters()).terms
    objective(outputs).total.backward()
    assert term.norm == pytest.approx(float(layer.weight.grad.norm()), rel=1e-5)


def test_adaptive_weight_is_measured_in_force_and_left_alone() -> None:
    adaptive = {"adaptive": {"reference": "loss_l1", "wrt": "pred", "eps": 1e-12}}
    objective = Objective([{"type": "L1Loss"}, {"type": "MSELoss", "loss_weight": adaptive}])
    outputs = batch()
    outputs["pred"].requires_grad_()
    l1, mse = report(objective, [outputs]).terms
    assert mse.norm == pytest.approx(l1.norm, rel=1e-4)
    assert mse.weight is None
    assert mse.proposed is None


def test_schedules_and_monitors() -> None:
    objective = Objective(
        [{"type": "L1Loss"}, {"type": "MSELoss", "start": 9}, {"type": "PSNRLoss", "monitor": True}]
    )
    early = report(objective, [{**batch(), "iteration": 0}])
    assert [(t.name, t.norm > 0) for t in early.terms] == [("loss_l1", True), ("loss_mse", False)]
    assert [t.active for t in early.terms] == [True, False]
    assert early.terms[1].proposed is None
    assert early.wanted == {"loss_l1": 1}  # what is not active has no share to wish for
    assert early.terms[0].deviation is None  # one batch has no spread
    late = report(objective, [{**batch(), "iteration": 9}])
    assert late.terms[1].norm > 0
    assert late.terms[1].active


class Silent(Loss):
    """Takes all outputs, and may say that it does not count now, as MMagic's lazy losses do."""

    def forward(self, outputs_dict):
        return None


def test_a_loss_that_leaves_itself_out_is_not_active() -> None:
    silent = Term(Silent(), loss_name="loss_silent", self_routed=True)
    objective = Objective([{"type": "L1Loss"}, silent])
    assert [t.active for t in report(objective, [batch()]).terms] == [True, False]


@pytest.mark.parametrize(
    ("schedule", "first"),
    [
        ("start: 9", "9"),
        ("start: 9, interval: 4", "12"),
        ("start: 2, stop: 4, interval: 8", None),
    ],
)
def test_command_says_who_is_not_active(files, tmp_path, capsys, schedule, first) -> None:
    (tmp_path / "o.yaml").write_text(f"terms: [{{type: L1Loss}}, {{type: MSELoss, {schedule}}}]")
    plot = tmp_path / "b.svg"
    assert main([*files, "--iteration", "1", "--plot", str(plot)]) == 0
    out = capsys.readouterr().out
    hint = f"; --iteration {first} shows it" if first else ""
    assert out.splitlines()[-1] == f"loss_mse is not active at iteration 1{hint}"
    assert "no gradient" not in out
    words = list(ET.parse(plot).getroot().itertext())
    assert words.count("not active at this iteration") == 1
    assert main([*files, "--iteration", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [term["active"] for term in found["terms"]] == [True, False]
    assert found["remarks"] == [f"loss_mse is not active at iteration 1{hint}"]
    if first:
        assert main([*files, "--iteration", first]) == 0
        assert "active" not in capsys.readouterr().out


def test_weight_of_nothing_is_no_fault_of_the_images(files, tmp_path, capsys) -> None:
    (tmp_path / "o.yaml").write_text("terms: [{type: L1Loss}, {type: MSELoss, loss_weight: 0}]")
    assert main(files) == 0
    assert "loss_mse has loss_weight 0, so no gradient" in capsys.readouterr().out


def test_refuses() -> None:
    objective = Objective([{"type": "L1Loss"}])
    with pytest.raises(ConfigError, match="'loss_l2', which is no term; did you mean 'loss_l1'"):
        report(objective, [batch()], ratio={"loss_l2": 1})
    with pytest.raises(ConfigError, match="must be positive, not 0"):
        report(objective, [batch()], ratio={"loss_l1": 0})
    with pytest.raises(ConfigError, match="at least one batch"):
        report(objective, [])
    with pytest.raises(
        MissingOutputError, match="wrt='prd' is not among the outputs; did you mean"
    ):
        report(objective, [batch()], wrt="prd")
    with pytest.raises(ConfigError, match="monitored only"):
        report(Objective([{"type": "L1Loss", "monitor": True}]), [batch()])
    with pytest.raises(LosskitError, match="value or gradient of loss_l1 is NaN"):
        report(objective, [{**batch(), "target": torch.full((1, 3, 8, 8), math.nan)}])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "o.yaml").write_text("terms: [{type: L1Loss}, {type: MSELoss, loss_weight: 4}]")
    for folder, value in (("p", 160), ("t", 128)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(
                tmp_path / folder / f"{name}.png"
            )
    return [
        "balance",
        str(tmp_path / "o.yaml"),
        "--pred",
        str(tmp_path / "p"),
        "--target",
        str(tmp_path / "t"),
    ]


def test_terms_may_compare_with_the_start(files, tmp_path, capsys) -> None:
    near = "{type: MSELoss, loss_name: loss_near, data_info: {pred: pred, target: init}}"
    (tmp_path / "o.yaml").write_text(f"terms: [{{type: MSELoss}}, {near}]")
    assert main([*files, "--json"]) == 0  # by default the start is the target
    assert [t["share"] for t in json.loads(capsys.readouterr().out)["terms"]] == [0.5, 0.5]
    assert main([*files, "--init", str(tmp_path / "p"), "--json"]) == 0  # it has not moved yet
    assert [t["share"] for t in json.loads(capsys.readouterr().out)["terms"]] == [1, 0]


def test_command(files, tmp_path, capsys) -> None:
    assert main([*files, "--batch", "2", "--json", "--plot", str(tmp_path / "b.svg")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["batches"] == 2
    shares = [term["share"] for term in result["terms"]]
    assert shares == pytest.approx([0.5, 0.5], abs=0.01)  # 4 · 2 · (32/255) = 1.004 of L1's
    words = " ".join(ET.parse(tmp_path / "b.svg").getroot().itertext())
    assert "loss_mse" in words
    assert "50%" in words
    assert main(files) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["TERM", "VALUE", "GRADIENT", "SHARE"]
    assert len(table) == 3


def test_command_refuses(files, refused) -> None:
    refused([*files, "--ratio", "loss_l1"], "--ratio is written TERM=NUMBER")
    refused([*files, "--ratio", "x=1"], "'x', which is no term")
    refused([*files, "--limit", "0"], "--limit must be at least 1")
    refused([*files, "--iteration", "-1"], "--iteration must be at least 0, not -1")
    refused([*files, "--ratio", "loss_l1=inf"], "must be positive, not inf")
    refused([*files, "--plot", "/no/where.svg"], "cannot write /no/where.svg")


def test_one_batch_has_no_spread(files, capsys) -> None:
    assert main([*files, "--limit", "1"]) == 0
    assert "±" not in capsys.readouterr().out
    assert main([*files, "--batch", "1"]) == 0
    assert "±" in capsys.readouterr().out


@pytest.mark.parametrize("term", ["{type: SSIMLoss, window_size: 9}", "{type: R1Penalty}"])
def test_what_a_term_refuses_is_one_line(files, tmp_path, capsys, term) -> None:
    (tmp_path / "o.yaml").write_text(f"terms: [{term}]")
    target = str(tmp_path / "t" / "a.png")
    optimize = ["optimize", files[1], "--target", target, "--out", str(tmp_path / "out")]
    for argv in (files, [*optimize, "--steps", "1"]):
        assert main(argv) == 1
        error = capsys.readouterr().err
        assert error.startswith("losskit: ")
        assert error.count("\n") == 1


def test_equal_images_have_no_gradient_to_balance(files, capsys) -> None:
    files[5] = files[3]
    files[1] = files[1].replace("o.yaml", "m.yaml")
    Path(files[1]).write_text("terms: [{type: MSELoss}]")
    assert main(files) == 0
    assert "loss_mse has no gradient on these images" in capsys.readouterr().out


def test_drawing_is_xml_whatever_the_names() -> None:
    term = Term(Parts(), loss_name="loss_<&>")
    root = ET.fromstring(draw(report(Objective([term]), [batch()])))
    assert "loss_<&>" in list(root.itertext())


@pytest.mark.parametrize("length", [5, 40, 90])
def test_drawing_has_room_for_long_names(length) -> None:
    name = "loss_" + "m" * (length - 5)
    drawing = ET.fromstring(draw(report(Objective([Term(Parts(), loss_name=name)]), [batch()])))
    texts = [e for e in drawing.iter() if e.tag.endswith("text")]
    (shown,) = [e for e in texts if e.text and e.text.startswith("loss_")]
    assert len(shown.text) <= 48
    assert float(shown.get("x")) >= 7 * len(shown.text)  # its right end: no letter is cut off
    assert "mean of 1 batch" in " ".join(drawing.itertext())
    assert "batches" not in " ".join(drawing.itertext())


def test_round_ticks() -> None:
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0, 47, 5) == [0, 10, 20, 30, 40]
    assert ticks(2, 2) == [2]
    assert number(-0.00123) == "−0.00123"
    assert number(1329.3) == "1,329"
    assert parse_ratio("a=1, b=2.5") == {"a": 1.0, "b": 2.5}
