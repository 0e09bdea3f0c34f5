"""Every fenced block of the README and the docs is run, or checked as what it is; none is passed over.

Invisible comments right above a block say what a reader need not see::

    <!-- test: pictures cat.png restored/ -->   write small photographs (a folder gets two) first
    <!-- test: first COMMAND -->                run this first
    <!-- test: with COMMAND: ARGUMENTS -->      append these where a command begins so
    <!-- test: parse, REASON -->                look at the commands, do not run them
    <!-- test: by tests/examples/test_x.py -->  that test runs it, and compares what is shown
    <!-- test: a drawing -->                    text that is neither code nor output
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from doccommands import Page, compare, run_block
from sybil import Document, Example, Lexeme, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parents[2]
#: Where pytest looks for blocks; single files and folders, as its own patterns have no ``**``.
COLLECTED = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/*/*.md",
    "packages/*/README.md",
    "examples/*/README.md",
)
#: Pages whose blocks are tests, and the one that a test of its own runs as a whole.
PATTERNS = ("README.md", "packages/*/README.md", "examples/*/README.md", "docs/**/*.md")
ELSEWHERE = {"docs/authoring.md": "tests/core/scaffold/test_authoring.py"}
#: Written by the docs' build, from docstrings and from pages and files that are tested where they are.
GENERATED = ("docs/catalogue/", "docs/examples/", "docs/reference/", "docs/_build/", "docs/_extra/")

_LEXER = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))
_NOTES = re.compile(r"((?:^<!-- test: .* -->\n)+)\Z", re.MULTILINE)
_NOTE = re.compile(r"^<!-- test: (pictures|first|with|parse,|by|a drawing) ?(.*) -->$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: what it calls itself, its text, and the notes above it."""

    path: Path
    language: str
    source: str
    region: Region
    notes: Mapping[str, list[str]] = field(default_factory=dict)


def blocks_of(document: Document) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    for region in _LEXER(document):
        above = _NOTES.search(document.text[: region.start])
        notes: dict[str, list[str]] = {}
        for name, text in _NOTE.findall(above[1]) if above else ():
            notes.setdefault(name.rstrip(","), []).append(text)
        source = region.lexemes["source"]
        language = str(region.lexemes["language"]).strip()
        yield Block(Path(document.path), language, source, region, notes)


def pages_blocks(path: Path) -> list[Block]:
    """All fenced blocks of a file."""
    return list(blocks_of(Document(path.read_text(encoding="utf-8"), str(path))))


def is_page(path: Path) -> bool:
    """Whether the blocks of a page are tested one by one."""
    place = path.relative_to(ROOT).as_posix()
    return place not in ELSEWHERE and not place.startswith(GENERATED)


def parse(document: Document) -> Iterator[Region]:
    """A test for each block: what Sybil calls a parser."""
    if is_page(Path(document.path)):
        for block in blocks_of(document):
            evaluate = EVALUATORS.get(kind_of(block), _unknown)
            region = block.region
            yield Region(region.start, region.end, block.source, partial(evaluate, block))


def kind_of(block: Block) -> str:
    """The class that a block is tested as; an unknown language is its own."""
    if "by" in block.notes:
        return "by a test"
    if "a drawing" in block.notes and block.language == "text":
        return "drawing"
    if block.language in ("bash", "console"):
        return f"{block.language}, parsed" if "parse" in block.notes else block.language
    return block.language


def _python(block: Block, example: Example) -> None:
    """Run it; where a file of weights cannot be had, run all of it with random ones."""
    from losskit.errors import WeightsError

    try:
        PythonEvaluator()(example)
    except WeightsError:
        example.parsed = Lexeme(_with_random_weights(block.source), 0, 0)
        PythonEvaluator()(example)


def _with_random_weights(source: str) -> str:
    """Python source that says ``weights="random"`` wherever it names some or means the default."""
    import losskit
    from losskit.signatures import loss_signature

    specs = losskit.list_losses()
    taking = [
        spec.name
        for spec in specs
        if (weights := loss_signature(spec)["arguments"].get("weights")) is not None
        and (weights.default is None or isinstance(weights.default, str))
    ]
    source = re.sub(r'weights="[^"]*"', 'weights="random"', source)
    pattern = rf'(type="(?:{"|".join(taking)})")(?!.*\bweights=)'
    return re.sub(pattern, r'\1, weights="random"', source)


def _commands(block: Block, example: Example) -> None:
    run_block(
        block.source, block.notes, Page(ROOT, block.path), console=block.language == "console"
    )


def _yaml(block: Block, example: Example) -> None:
    """A config is built as what its keys say it is; ``# faces.yaml`` on its first line names its file."""
    import losskit
    from losskit.objectives.config import read_config

    named = re.match(
        r"# ([\w-]+\.ya?ml)\n", block.source
    )  # later blocks of the page read that file
    path = Path(named[1] if named else "block.yaml")
    path.write_text(block.source, encoding="utf-8")
    config = read_config(path)
    try:
        _built(config)
    except losskit.errors.WeightsError:  # all but the file was right; now the rest
        _built(_random(config))


def _built(config: dict[str, Any]) -> None:
    import losskit
    from losskit_gan import GANObjective
    from losskit_train.config.reference import required_examples
    from losskit_train.config.schema import from_mapping
    from losskit_train.config.training import TrainConfig, load_train_config

    auxiliary = {"disc_auxiliary_loss", "gen_auxiliary_loss"}
    if "terms" in config:
        losskit.load_objective(config)
    elif "model" in config and "data" in config:
        load_train_config(config)
    elif set(config) <= {"gan_loss", *auxiliary}:
        GANObjective(**{"gan_loss": {"type": "GANLoss", "gan_type": "vanilla"}, **config})
    elif set(config) <= {key.name for key in fields(TrainConfig)}:  # a part of one
        from_mapping(TrainConfig, {**required_examples(), **config})
    else:
        raise AssertionError(f"no kind of config has the keys {', '.join(map(str, config))}")


def _random(config: Any) -> Any:
    """The config with random weights wherever it names some."""
    if isinstance(config, dict):
        return {k: "random" if k == "weights" else _random(v) for k, v in config.items()}
    return [_random(item) for item in config] if isinstance(config, list) else config


def _toctree(block: Block, example: Example) -> None:
    entries = [e for e in block.source.split("\n") if e.strip() and not e.startswith(":")]
    for entry in entries:
        pages = [block.path.parent / f"{entry}{suffix}" for suffix in (".md", ".rst")]
        place = pages[0].relative_to(ROOT).as_posix()
        assert any(page.is_file() for page in pages) or place.startswith(GENERATED), entry


def _by_a_test(block: Block, example: Example) -> None:
    """The test that is named runs the very block, or this example at toy length."""
    (name,) = block.notes["by"]
    text = (ROOT / name).read_text(encoding="utf-8")
    if f'"{block.path.name}"' in text and "pages_blocks(" in text:
        return
    assert block.path.parent.name in text, f"{name} says nothing of {block.path.parent.name}"
    if block.language == "text":
        # The fixture compares it too.
        compares = "assert_shown(" in text or "run_random(" in text
        assert compares, f"{name} does not compare what this block shows"
    else:
        _commands(replace(block, notes={**block.notes, "parse": [""]}), example)


def assert_shown(readme: Path, printed: str) -> None:
    """What a README shows in its ``text`` blocks is what was printed, but for the digits of numbers."""
    shown = [block.source for block in pages_blocks(readme) if block.language == "text"]
    assert shown, f"{readme} shows no output"
    for text in shown:
        compare(*(re.sub(r"\d", "0", part) for part in (printed, text)), str(readme))


def _drawing(block: Block, example: Example) -> None:
    assert not re.search(r"^\s*(\$ |losskit |pip |python |import )", block.source, re.M)


def _unknown(block: Block, example: Example) -> None:
    raise AssertionError(
        f"nothing tests a block of the kind {block.language!r}; "
        "give it a language, or teach tests/support/docblocks.py to test it"
    )


EVALUATORS: dict[str, Callable[[Block, Example], None]] = {
    "python": _python,
    "bash": _commands,
    "bash, parsed": _commands,
    "console": _commands,
    "console, parsed": _commands,
    "yaml": _yaml,
    "{toctree}": _toctree,
    "by a test": _by_a_test,
    "drawing": _drawing,
}
