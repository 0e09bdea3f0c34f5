"""MMagic configs as objectives: what is read, what is refused, and that nothing is run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from losskit import load_objective
from losskit.cli import main
from losskit.errors import LosskitError
from losskit_lab.migrate.convert import migrate
from losskit_lab.migrate.python_config import merged, read_python_config
from losskit_lab.migrate.python_values import Unresolved


def write(folder: Path, text: str, name: str = "config.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def values(folder: Path, text: str) -> dict[str, Any]:
    return read_python_config(write(folder, text)).values


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.001 * 0.5", 0.0005),
        ("10. / 2. * k", 80.0),
        ("-1 + 2 ** 3 // 3 % 5", 1),
        ("dict(a=1, b=[k, (2, 3)])", {"a": 1, "b": [16, (2, 3)]}),
        ("dict(base, b=3)", {"a": 1, "b": 3}),
        ("{**base, 'c': 'x' + 'y'}", {"a": 1, "b": 2, "c": "xy"}),
        ("base['a']", 1),
        ("base.b", 2),
        ("[1, 2, 3][1]", 2),
        ("f'size_{k}'", "size_16"),
        ("None if k > 3 else 1", Unresolved("None if k > 3 else 1", "it would have to be run")),
        ("'a' if k else 'b'", "a"),
        ("[0.1] * 3", [0.1, 0.1, 0.1]),
        ("True", True),
    ],
)
def test_constants_are_resolved(tmp_path, expression, value) -> None:
    text = f"k = 16\nbase = dict(a=1, b=2)\nx = {expression}\n"
    assert values(tmp_path, text)["x"] == value


@pytest.mark.parametrize(
    "expression",
    [
        "open('/etc/hostname').read()",
        "__import__('os').system('touch ran')",
        "unknown",
        "1 / 0",
        "9 ** 9 ** 9",
        "'a' * 10 ** 9",
        "[i for i in range(3)]",
        "base['missing']",
        "f'{k:>10}'",
        "(lambda: 1)()",
    ],
)
def test_all_else_is_left_where_it_stands(tmp_path, monkeypatch, expression) -> None:
    monkeypatch.chdir(tmp_path)
    found = values(tmp_path, f"k = 16\nbase = dict(a=1)\nx = dict(y={expression}, z=1)\n")["x"]
    assert isinstance(found["y"], Unresolved)
    assert found["z"] == 1
    assert not (tmp_path / "ran").exists()


def test_statements(tmp_path) -> None:
    text = (
        "import os\nmodel = dict(a=dict(b=1))\nmodel['a']['c'] = 2\nmodel['a'].update(dict(d=3))\n"
        "x, y = 1, (2, 3)\nx += 1\nz: int = 5\nfor i in []:\n    x = 9\n_private = 1\n"
    )
    read = read_python_config(write(tmp_path, text))
    assert read.values == {"model": {"a": {"b": 1, "c": 2, "d": 3}}, "x": 2, "y": (2, 3), "z": 5}
    assert [str(note) for note in read.notes] == ["line 8 was not run: for i in []:"]


def test_bases_are_merged_as_openmmlab_does(tmp_path) -> None:
    write(tmp_path, "k = 2\nmodel = dict(a=dict(x=1, y=1), b=dict(x=1), c=[1])", "_base_/one.py")
    text = (
        "_base_ = ['_base_/one.py', 'missing.py']\n"
        "model = dict(a=dict(y=5), b=dict(_delete_=True, z=1), c=[2])\nw = {{_base_.k}}\n"
    )
    read = read_python_config(write(tmp_path, text))
    assert read.values["model"] == {
        "a": {"x": 1, "y": 5},
        "b": {"_delete_": True, "z": 1},
        "c": [2],
    }
    assert read.values["w"] == 2
    (note,) = read.notes
    assert str(note) == "the base missing.py is not there: its losses are missing here"
    assert merged({"a": {"x": 1}}, {"a": 3}) == {"a": 3}


def test_newer_style_with_read_base_and_classes(tmp_path) -> None:
    write(tmp_path, "model = dict(gan_loss=dict(type=GANLoss, loss_weight=1.0))", "_base_/one.py")
    text = (
        "from mmagic.models.losses import L1Loss\n"
        "with read_base():\n    from ._base_.one import *\n"
        "model.update(dict(pixel_loss=dict(type=L1Loss, loss_weight=0.5)))\n"
    )
    result = migrate(write(tmp_path, text))
    assert [(t.path, t.config["type"]) for t in result.terms] == [
        ("model.gan_loss", "GANLoss"),
        ("model.pixel_loss", "L1Loss"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "is no Python"),
        ("_base_ = 'config.py'", "is a _base_ of itself"),
        ("x = " + "(" * 3000 + ")" * 3000, "is no Python|nested too deeply"),
        ("x = " + "-" * 5000 + "1", "is no Python|nested too deeply"),
    ],
)
def test_damaged_files(tmp_path, text, message) -> None:
    with pytest.raises(LosskitError, match=message):
        read_python_config(write(tmp_path, text))
    with pytest.raises(LosskitError, match="cannot read"):
        read_python_config(tmp_path / "missing.py")


CONFIG = """
scale = 0.5
pixel_loss = dict(type='MSELoss', loss_weight=1.0, reduction='mean')
model = dict(
    type='BasicVSR',
    generator=dict(type='BasicVSRNet', mid_channels=64),
    pixel_loss=pixel_loss,
    align_loss=dict(type='mmagic.CharbonnierLoss', loss_weight=0.1 * scale, eps=1e-8),
    psnr_loss=dict(type='PSNR_Loss', loss_weight=0.25, toY=True),
    gen_auxiliary_loss=[
        dict(type='HuberLoss', loss_weight=2, data_info=dict(pred='fake', target='real')),
        dict(type='L1Loss', loss_weight=load(), reduction='mean', sample_wize=True),
    ],
    loss_config=dict(r1_loss_weight=10. / 2. * 16, norm_mode='HWC'),
)
"""


def test_losses_build_from_what_is_printed(tmp_path, capsys) -> None:
    assert main(["migrate", str(write(tmp_path, CONFIG))]) == 0
    text = capsys.readouterr().out
    config = yaml.safe_load(text)
    assert config == {
        "terms": [
            {"type": "MSELoss", "loss_weight": 1.0, "loss_name": "pixel_loss", "reduction": "mean"},
            {
                "type": "CharbonnierLoss",
                "loss_weight": 0.05,
                "loss_name": "align_loss",
                "eps": 1e-8,
            },
            {"type": "PSNRLoss", "loss_weight": 0.25, "loss_name": "psnr_loss", "toY": True},
            {
                "type": "HuberLoss",
                "loss_weight": 2,
                "data_info": {"pred": "fake", "target": "real"},
            },
            {"type": "L1Loss", "reduction": "mean"},
        ]
    }
    names = [term.name for term in load_objective(config).terms]
    assert names[:3] == ["pixel_loss", "align_loss", "psnr_loss"]
    for note in (
        "# model.gen_auxiliary_loss[1]",
        "left out loss_weight=load(): no constant (it would have to be run)",
        "left out sample_wize=True: L1Loss has no such argument",
        "takes the outputs pred, target; data_info would rename them",
        "`losskit presets NAME r1_loss_weight=80.0 norm_mode=HWC`",
    ):
        assert note in text


def test_names_of_mmagic_become_ours(tmp_path) -> None:
    text = (
        "a_loss = dict(type='Nobody_Loss_Knows', x=1)\n"
        "b_loss = dict(type='UnknownLoss', x=1)\n"
        "c_loss = dict(type='PSNRLoss', data_info=dict(x='fake', gt='real'))\n"
        "d_loss = dict(type='GANLossComps', use_apex_amp=True)\n"
    )
    result = migrate(write(tmp_path, text))
    found = {t.path: t for t in result.terms}
    assert set(found) == {"b_loss", "c_loss", "d_loss"}
    assert "no installed plugin supplies UnknownLoss" in found["b_loss"].notes[0]
    assert found["c_loss"].config["data_info"] == {"pred": "fake", "target": "real"}
    assert found["d_loss"].config["type"] == "GANLoss"
    assert "use_apex_amp" not in found["d_loss"].config


def test_command_line(tmp_path, capsys) -> None:
    path = write(tmp_path, CONFIG)
    assert main(["migrate", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["terms"][0]["path"] == "model.pixel_loss"
    out = tmp_path / "o.yaml"
    assert main(["migrate", str(path), "--out", str(out)]) == 0
    assert len(load_objective(out).terms) == 5
    assert main(["migrate", str(path), "--out", str(tmp_path / "no" / "o.yaml")]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert main(["migrate", str(write(tmp_path, "x = 1", "empty.py"))]) == 1
    captured = capsys.readouterr()
    assert "no loss was found" in captured.err
    assert yaml.safe_load(captured.out) == {"terms": []}


@pytest.mark.parametrize(
    ("text", "types", "notes"),
    [
        (
            "model = dict(pixel_loss=dict(type='L1Loss'), other_loss=dict(type='MSELoss'), **more())",
            ["L1Loss", "MSELoss"],
            [
                "model.**more() = more() was not read (it would have to be run): its losses are missing"
            ],
        ),
        (
            "model = dict(a_loss=make('L1Loss'), l2=[dict(type='MSELoss') for _ in range(2)])",
            [],
            ["model.a_loss = make('L1Loss') was not read", "model.l2 = [dict(type='MSELoss') for"],
        ),
        (
            "model = dict(type=SRGAN, b=[dict(type='L1Loss'), other])",
            ["L1Loss"],
            ["model.b[1] = other was not read (not assigned in this file)"],
        ),
        ("a, b = losses()", [], ["line 1 was not run: a, b = losses()"]),
        ("model = {}\nmodel[k()] = dict(type='L1Loss')", [], ["line 2 was not run: model[k()]"]),
        ("model = {k: dict(type='L1Loss')}", ["L1Loss"], []),
    ],
)
def test_what_is_not_read_is_said(tmp_path, text, types, notes) -> None:
    result = migrate(write(tmp_path, text))
    assert [term.config["type"] for term in result.terms] == types
    assert len(result.notes) == len(notes)
    for note, start in zip(result.notes, notes, strict=True):
        assert note.startswith(start)
        assert f"# {note}" in result.to_yaml()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("l1 = dict(type='L1Loss')\nmodel = dict(pixel_loss=l1)", ["model.pixel_loss"]),
        ("l1 = dict(type='L1Loss')\nmodel = dict(a=l1, b=l1)", ["model.a", "model.b"]),
        ("ls = [dict(type='L1Loss')]\nmodel = dict(aux=ls)", ["model.aux[0]"]),
        ("ls = dict(a=dict(type='L1Loss'))\nmodel = dict(**ls)", ["model.a"]),
        ("model = {}\nl1 = dict(type='L1Loss')\nmodel['g'] = l1", ["model.g"]),
        (
            "model = dict(g=dict(l=dict(type='L1Loss')), h=dict(l=dict(type='L1Loss')))",
            ["model.g.l", "model.h.l"],
        ),
        ("a = dict(type='L1Loss')\nmodel = dict(b=dict(type='L1Loss'))", ["model.b", "a"]),
    ],
)
def test_a_variable_and_its_use_are_one_term(tmp_path, text, paths) -> None:
    assert [term.path for term in migrate(write(tmp_path, text)).terms] == paths


@pytest.mark.parametrize(
    ("base", "words"),
    [("join('a', 'b')", "join('a', 'b')"), ("['a.py'] + more", "['a.py'] + more"), ("5", "5")],
)
def test_bases_that_are_no_names_are_said(tmp_path, base, words) -> None:
    read = read_python_config(write(tmp_path, f"_base_ = {base}\nx = 1\n"))
    assert read.values == {"x": 1}
    (note,) = read.notes
    assert str(note) == (
        f"line 1: the base {words} names no file known here: its losses are missing here"
    )


@pytest.mark.parametrize("value", ["1j", "b'x'", "...", "(-1) ** 0.5", "[1, (2j,)]", "{(1, 2): 3}"])
def test_values_that_yaml_does_not_hold(tmp_path, value) -> None:
    path = write(tmp_path, f"l_loss = dict(type='UnknownLoss', x={value}, y=1)\n")
    (term,) = yaml.safe_load(migrate(path).to_yaml())["terms"]
    assert term["y"] == 1
    assert term.get("x") in (None, {"(1, 2)": 3})


def test_a_base_that_is_missing_is_a_problem(tmp_path, capsys) -> None:
    path = write(tmp_path, "_base_ = 'gone.py'\nmodel = dict(pixel_loss=dict(type='L1Loss'))")
    out = tmp_path / "objective.yaml"
    assert main(["migrate", str(path), "--out", str(out)]) == 1
    printed, error = capsys.readouterr()
    assert printed == f"{out}: an objective of 1 term, with 1 remarks at its head\n"
    assert error == "losskit: the base gone.py is not there: its losses are missing here\n"
    assert "L1Loss" in out.read_text()
