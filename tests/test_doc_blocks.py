"""No block of the README and the docs goes untested, and what is wrong in one is found."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import docblocks
import pytest
from docblocks import EVALUATORS, ROOT, blocks_of, is_page, kind_of, pages_blocks
from doccommands import Page, parse_losskit, run_block
from markdown_it import MarkdownIt
from sybil import Document

PAGES = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("packages", "examples", "docs", "benchmarks")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if not path.relative_to(ROOT).as_posix().startswith(docblocks.GENERATED)
)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def fences(path: Path) -> int:
    """Blocks of code as another parser of Markdown counts them, indented ones too."""
    tokens = MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8"))
    return sum(token.type in ("fence", "code_block") for token in tokens)


def hidden(text: str) -> list[str]:
    """Code that is in no block: HTML's own, or in a fence of colons."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for part in (token, *(token.children or ())):
            if part.type in ("html_block", "html_inline"):
                found += re.findall(r"<(?:pre|code|script|samp|kbd|textarea)\b", part.content, re.I)
        if token.type == "inline":
            found += re.findall(r"^:{3,}.*", token.content, re.M)
    return found


def collected() -> set[str]:
    """Pages that pytest takes blocks from: the patterns of the root conftest, in the paths it tests."""
    return {place(p) for pattern in docblocks.COLLECTED for p in ROOT.glob(pattern) if is_page(p)}


def test_every_page_with_a_block_is_collected() -> None:
    with_blocks = {place(path) for path in PAGES if fences(path)}
    assert with_blocks - collected() == set(docblocks.ELSEWHERE)
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (paths,) = re.findall(r"^testpaths = \[(.*)\]", config, re.M)
    for path in ("packages", "docs", "README.md", "CONTRIBUTING.md", "examples/*/README.md"):
        assert f'"{path}"' in paths
    conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
    assert "patterns=docblocks.COLLECTED" in conftest


def test_each_block_is_of_a_kind_that_is_tested_and_none_is_lost() -> None:
    kinds: Counter[str] = Counter()
    for path in PAGES:
        if place(path) in docblocks.ELSEWHERE:
            continue
        blocks = pages_blocks(path)
        assert len(blocks) == fences(path), f"{place(path)}: not each block of code is fenced"
        kinds.update(kind_of(block) for block in blocks)
    assert set(kinds) <= set(EVALUATORS)
    assert (
        kinds["drawing"] == 2
    )  # in docs/design.md, the house and the four nouns: all that is only looked at
    assert kinds["python"] > 25
    assert kinds["bash"] + kinds["console"] > 15
    assert kinds["yaml"] > 7


def test_no_code_is_outside_of_blocks() -> None:
    faults = {place(path): hidden(path.read_text(encoding="utf-8")) for path in PAGES}
    assert {name: found for name, found in faults.items() if found} == {}
    config = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    assert re.findall(r"^myst_enable_extensions = .*colon_fence", config, re.M) == []


def test_code_outside_of_blocks_would_be_found() -> None:
    for text in (
        "Text.\n\n<pre><code>losskit trian</code></pre>\n",
        "<details>\n<pre>\nlosskit trian\n</pre>\n</details>\n",
        "Say <code>losskit trian</code>.\n",
        "- item\n\n  <PRE>x</PRE>\n",
        "| a |\n|---|\n| <code>x</code> |\n",
        ":::{code-block} python\nimport nowhere\n:::\n",
        "Text.\n\n::::{literalinclude} x.py\n::::\n",
        "- item\n\n  :::{code-block} python\n  x\n  :::\n",
    ):
        assert hidden(text), text
    assert hidden("Say `<pre>` or `:::`.\n\n```python\n'<code>'\n```\n\n<img src='x'>\n") == []


def test_what_is_only_parsed_says_why() -> None:
    """Each of these would take minutes, a network, several GPUs or a reader's own module."""
    found = {
        (place(path), block.notes["parse"][0])
        for path in PAGES
        for block in pages_blocks(path)
        if "parse" in block.notes
    }
    assert found == {
        ("README.md", "it trains for minutes"),
        ("CONTRIBUTING.md", "it takes minutes"),
        ("docs/quickstart.md", "it trains for minutes"),
        ("docs/design.md", "it draws every loss"),
        ("docs/migration.md", "it needs a config of MMagic's"),
        ("docs/releasing.md", "it takes minutes and gigabytes"),
        ("docs/guides/faces.md", "it downloads"),
        ("docs/guides/offline.md", "it downloads"),
        ("docs/guides/offline.md", "the files are yours"),
        ("docs/guides/many-gpus.md", "it takes several GPUs"),
        ("docs/guides/optimize.md", "the module is yours"),
    }


@pytest.mark.parametrize("path", PAGES, ids=place)
def test_notes_are_read(path: Path) -> None:
    """A note that is misspelt or not right above a block would be ignored."""
    read = sum(len(texts) for block in pages_blocks(path) for texts in block.notes.values())
    assert read == path.read_text(encoding="utf-8").count("<!-- test:")


PAGE = Page(ROOT, ROOT / "README.md")
PARSE = {"parse": ["for this test"]}


def test_a_block_of_no_kind_fails() -> None:
    for fence in ("```", "```toml", "```sh", "~~~text"):
        (block,) = blocks_of(Document(f"{fence}\nx = 1\n{fence[:3]}\n", str(PAGE.path)))
        with pytest.raises(AssertionError, match="nothing tests a block of the kind"):
            EVALUATORS.get(kind_of(block), docblocks._unknown)(block, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("losskit eval a b --losss L1Loss", "unrecognized arguments|required"),
        ("losskit optimise objective.yaml", "there is no command"),
        ("losskit weights pull no-such-net", "no plugin has the weights"),
        ("losskit train examples/nowhere/config.yaml", "there is no examples/nowhere"),
        ("losskit train examples/r3gan/config.yaml fabric.gpus=4", "gpus"),
        ("pip install losskit-gna", "neither ours nor a dependency of ours"),
        ("pip install 'losskit-train[exprt]'", "has no extra"),
        ("git clone somewhere", "nothing tests a command of 'git'"),
        ("python examples/nowhere.py", "there is no examples/nowhere.py"),
        ("black .", "nothing tests a command"),
        ("uv run towncrier bild --bogus", "towncrier has no sub-command 'bild'"),
        ("uv run towncrier build --bogus", "towncrier build has no option --bogus"),
        ("uv run towncrier build --yes=1", "--yes takes no value"),
        ("uv run pytest --nonsense", "pytest has no option --nonsense"),
        ("uv run pytest -q no/such/file", "there is no no/such/file"),
        ("uv run pytest -k gan tests/nowhere.py::test_it", "there is no tests/nowhere.py"),
        ("ruff chekc", "ruff has no sub-command 'chekc'"),
        ("ruff", "without a sub-command"),
        ("twine check --strickt dist/*", "twine check has no option --strickt"),
        ("python -c 'import torchvision; torchvision.models.vgg91()'", "vgg91"),
        ("python -c 'import torchvision torch'", "invalid syntax"),
        ("export TORCHHOME=x", "no variable TORCHHOME is known"),
        ("mypy --strictest", "mypy has no option --strictest"),
    ],
)
def test_a_wrong_command_fails_without_being_run(command, fault, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(Exception, match=fault):
        run_block(command, PARSE, PAGE, console=False)
    run_block("uv run losskit demo --minutes 1", PARSE, PAGE, console=False)
    parse_losskit(["atlas", "--out", "x"], ROOT)


def test_tools_right_commands_pass() -> None:
    for command in (
        "uv run pytest -q -k 'gan and not slow' -n 2 --maxfail=1 tests/test_docs.py::test_pages_are_found",
        "python -m pytest tests packages -m slow",
        "uv run towncrier build --yes --version 1.2.3",
        "uv run twine check --strict dist/*.whl dist/*.tar.gz",
        "pytest && ruff check && ruff format --check . && mypy packages/*/src --strict",
    ):
        run_block(command, {}, PAGE, console=False)


def test_arguments_are_appended_before_a_comment(capsys) -> None:
    for note, fault in (
        ("losskit list: --nonsense", "2"),
        ("losskit show: x", "begins"),
    ):
        with pytest.raises((AssertionError, SystemExit), match=fault):
            run_block("losskit list  # all", {"with": [note]}, PAGE, console=False)


def test_output_is_compared() -> None:
    run_block("$ losskit list --tag pixel\nL1Loss\nMSELoss\n", {}, PAGE, console=True)
    for wrong in ("MSELoss\nL1Loss\n", "NoSuchLoss\n"):
        with pytest.raises(AssertionError, match="does not print"):
            run_block(f"$ losskit list --tag pixel\n{wrong}", {}, PAGE, console=True)
    with pytest.raises(AssertionError, match="shown but not compared"):
        run_block("$ losskit list\nL1Loss\n", PARSE, PAGE, console=True)
    with pytest.raises(AssertionError, match="output without a command"):
        run_block("L1Loss\n$ losskit list\n", {}, PAGE, console=True)


def test_a_wrong_config_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source, fault in (
        ("terms:\n  - {type: L1Los}", "L1Los"),
        ("terms:\n  - {type: L1Loss, wieght: 2}", "wieght"),
        ("on: push\njobs: {}", "no kind of config"),
        ("gan_loss: {type: GANLoss, gan_type: hing}", "hing"),
    ):
        (block,) = blocks_of(Document(f"```yaml\n{source}\n```\n", str(PAGE.path)))
        with pytest.raises(Exception, match=fault):
            docblocks._yaml(block, None)  # type: ignore[arg-type]
