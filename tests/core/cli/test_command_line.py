"""Help at every level, and nothing printed that steers a terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shlex
import warnings
from pathlib import Path

import pytest
from doccommands import parse_losskit

import losskit
from losskit.cli.arguments import parse_range
from losskit.cli.dispatch import BUILT_IN, main
from losskit.discovery.registry import list_commands
from losskit.errors import LosskitError, RangeWarning
from losskit.text import printable

COMMANDS = [*BUILT_IN, *(spec.name for spec in list_commands())]


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with contextlib.suppress(SystemExit):
        assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_every_way_to_ask_lists_every_command(words: tuple[str, ...], capsys) -> None:
    text = help_of(capsys, *words)
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.M), command
    assert "losskit eval --help" in text


def test_help_without_plugins_leaves_theirs_out(capsys) -> None:
    losskit.refresh()
    try:
        text = help_of(capsys, "--help", "--no-plugins")
    finally:
        losskit.refresh()
    assert "  doctor " in text
    assert "  eval " not in text
    assert "  train " not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_has_an_example_that_parses(command: str, capsys) -> None:
    text = help_of(capsys, "help", command)
    assert text == help_of(capsys, command, "--help")
    (example,) = re.findall(rf"^  losskit {command}.*$", text, re.M)
    if command != "train":  # whose config would be read
        parse_losskit(shlex.split(example)[1:], Path.cwd())


@pytest.mark.parametrize(
    "words",
    [("weights", action) for action in ("list", "pull", "verify", "path")],
)
def test_so_has_each_subcommands(words: tuple[str, str], capsys) -> None:
    text = " ".join(help_of(capsys, "help", *words).split())
    assert f"example: losskit {' '.join(words)}" in text


@pytest.mark.parametrize("nasty", ["\x1b[31mred", "\x1b]0;title\x07", "\x7f", "\x9b1m", "a\u202eb"])
def test_specs_take_no_control_characters(nasty: str) -> None:
    fine = {"name": "Net", "target": "a:b"}
    for field in ("summary", "paper", "deprecated"):
        with pytest.raises(ValueError, match=f"LossSpec.{field} must not hold control"):
            losskit.LossSpec(**fine, **{field: nasty})
    with pytest.raises(ValueError, match=r"LossSpec.tags must not hold control"):
        losskit.LossSpec(**fine, tags=(nasty,))
    for spec in (losskit.CommandSpec, losskit.PresetSpec, losskit.BackboneSpec):
        with pytest.raises(ValueError, match="summary must not hold control"):
            spec("net", "a:b", summary=nasty)
    with pytest.raises(ValueError, match=r"WeightsSpec.license must not hold control"):
        losskit.WeightsSpec("net", "https://a.org/x.pth", None, nasty, None)


def test_messages_and_file_names_are_free_of_them(capsys, tmp_path: Path) -> None:
    assert "\x1b" not in str(LosskitError("bad \x1b[31m key\nof two lines"))
    assert printable("ümlaut ½ 中") == "ümlaut ½ 中"
    assert main(["eval", f"{tmp_path}/\x1b[31m.png", str(tmp_path)]) in (1, 2)
    with pytest.raises(SystemExit):
        main(["list", "\x1b[31m", "--nope"])
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err


def test_a_mistyped_command_points_to_help_that_lists_them(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["evall"])
    assert "did you mean 'eval'?; see `losskit --help`" in capsys.readouterr().err


def test_list_filters_by_words_of_name_and_summary(capsys) -> None:
    assert main(["list", "ssim"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[0] for line in lines} == {"SSIMLoss", "MSSSIMLoss"}
    assert main(["list", "gradient", "--plugin", "gan", "--json"]) == 0
    assert '"name": "L1Loss"' not in capsys.readouterr().out
    assert main(["list", "smoothness", "nonsense"]) == 1
    assert "no loss matches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "wrong", "there"),
    [("--tag", "adversaril", "adversarial"), ("--plugin", "nope", "perceptual")],
)
def test_list_names_the_tags_and_plugins_there_are(flag, wrong, there, capsys) -> None:
    assert main(["list", flag, wrong]) == 1
    error = capsys.readouterr().err
    assert f"the {flag[2:]}s are" in error
    assert there in error


def test_what_is_no_control_character_is_taken() -> None:
    for text in ("ends in a space ", " ½ × σ, a\u00a0b, 中", "e\u0301"):
        assert losskit.LossSpec("Net", "a:b", text).summary == text


def test_a_new_line_hides_no_control_character() -> None:
    with pytest.raises(ValueError, match=r"LossSpec.paper must not hold control"):
        losskit.LossSpec("Net", "a:b", paper="two\nlines \x1b[31m")


@pytest.mark.parametrize("words", [("show", "NoSuchLoss"), ("weights", "path", "no-such-weights")])
def test_with_json_an_error_is_json_too(words: tuple[str, ...], capsys) -> None:
    assert main([*words, "--json"]) == 1
    out, err = capsys.readouterr()
    text = json.loads(out)["error"]
    assert words[-1] in text
    assert err == f"losskit: {text}\n"


def test_a_listing_without_a_match_is_1_as_json_too(capsys) -> None:
    assert main(["list", "no such words"]) == 1
    assert main(["list", "no such words", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "losses": []}


@pytest.mark.parametrize(("asked", "meant"), [("L1", "L1Loss"), ("charb", "CharbonnierLoss")])
def test_the_beginning_of_a_name_is_enough_to_be_told_it(asked: str, meant: str, capsys) -> None:
    assert main(["show", asked]) == 1
    assert f"did you mean {meant!r}?" in capsys.readouterr().err


def test_options_are_written_in_full(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["list", "--plug", "core"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --plug" in capsys.readouterr().err


def test_a_value_may_begin_with_a_minus(monkeypatch) -> None:
    given = []

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--range", type=parse_range)
        parser.add_argument("--seed", type=int)
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=lambda arguments: given.append(arguments) or 0)

    monkeypatch.setitem(BUILT_IN, "try", ("losskit.cli.doctor:configure", "", ""))
    monkeypatch.setattr("losskit.cli.doctor.configure", configure)
    assert main(["try", "--json", "--range", "-1,1", "--seed", "-3"]) == 0
    assert (given[0].range, given[0].seed, given[0].json) == ((-1, 1), -3, True)


def test_warnings_of_ours_are_one_line_without_a_source_line(monkeypatch) -> None:
    def configure(parser: argparse.ArgumentParser) -> None:
        def run(_: object) -> int:
            texts.append(warnings.formatwarning(RangeWarning("two\nlines"), RangeWarning, "f", 1))
            texts.append(warnings.formatwarning(UserWarning("theirs"), UserWarning, "f.py", 1, ""))
            return 0

        parser.set_defaults(run=run)

    texts: list[str] = []
    before = warnings.formatwarning
    monkeypatch.setattr("losskit.cli.doctor.configure", configure)
    assert main(["doctor"]) == 0
    assert texts == ["losskit: two lines\n", "f.py:1: UserWarning: theirs\n"]
    assert warnings.formatwarning is before


def test_presets_and_plugins_that_are_not_here_are_named(core_only, capsys, monkeypatch) -> None:
    assert main(["presets", "stylegan2"]) == 1
    assert main(["presets"]) == 0
    monkeypatch.setattr("losskit.testing.runner.plugins", list)
    assert main(["check", "gan"]) == 1
    out, err = capsys.readouterr()
    assert "pip install losskit-gan" in out
    assert err.count("pip install losskit-gan") == 2
