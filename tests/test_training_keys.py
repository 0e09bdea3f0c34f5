"""Keys of the training config that pages quote are keys of its schema, and are quoted whole."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from docblocks import GENERATED, PATTERNS
from markdown_it import MarkdownIt

from losskit.discovery.registry import list_losses
from losskit.errors import ConfigError
from losskit.signatures import loss_signature

networks = pytest.importorskip("losskit_train.networks")
reference = pytest.importorskip("losskit_train.config.reference")
schema = pytest.importorskip("losskit_train.config.schema")

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in (*PATTERNS, "changelog.d/*.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).as_posix().startswith(GENERATED)
)
KEYS = {key.path: key for key in reference.all_keys()}
_FREE = ("mapping", "any value")


@cache
def whole_config() -> dict[str, object]:
    """A config with every section, so that any key can be set in it."""
    text = reference.commented_yaml(reference.required_examples())
    return dict(yaml.safe_load(re.sub(r"^#(?=\w|  )", "", text, flags=re.M)))


@cache
def short_names() -> dict[str, str]:
    """Last parts of keys that mean nothing else: no top-level key, no argument of a loss or network."""
    others = {"type"}
    for network in networks.__all__:
        others |= set(inspect.signature(getattr(networks, network)).parameters)
    for spec in list_losses():
        signature = loss_signature(spec)
        others |= {*signature["arguments"], *signature["inputs"]}
    names: dict[str, list[str]] = {}
    for path, key in KEYS.items():
        if path != key.name and key.name not in {*KEYS, *others}:
            names.setdefault(key.name, []).append(path)
    return {name: " or ".join(paths) for name, paths in names.items()}


def codes_of(text: str) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def quoted(code: str) -> Iterator[tuple[str, str]]:
    """What may be keys in inline code, ``a.b: value``, ``a.b=value c.d=value`` or ``a.b``, with their values."""
    if match := re.fullmatch(r"([a-z_.]+): (.+)", code):
        yield match[1], match[2]
    else:
        for word in code.split():
            if match := re.fullmatch(r"([a-z_.]+)(?:=(.*))?", word):
                yield match[1], match[2] or ""


def fault(name: str, value: str) -> str:
    """What is wrong with a key as it is quoted, or nothing."""
    first, dot, _ = name.partition(".")
    if first not in KEYS or KEYS[first].section is None:
        return ""
    if dot and name not in KEYS:
        parents = [path for path in KEYS if name.startswith(f"{path}.")]
        if not any(word in KEYS[max(parents, key=len)].type for word in _FREE):
            return f"the schema has no key {name}"
    if value and (dot or value.startswith("{")):
        try:
            change = [f"{path}={item}" for path, item in _items(name, value)]
            schema.from_mapping(
                reference.TrainConfig, schema.with_overrides(whole_config(), change)
            )
        except ConfigError as error:
            return str(error)
    return ""


def _items(name: str, value: str) -> Iterator[tuple[str, str]]:
    """A section's mapping as its keys, which leaves the section's others as they are."""
    data = yaml.safe_load(value)
    if isinstance(data, dict) and name in KEYS and KEYS[name].section:
        yield from ((f"{name}.{key}", yaml.safe_dump(item)) for key, item in data.items())
    else:
        yield name, value


def faults(text: str) -> list[str]:
    """What is wrong with each inline code of a page."""
    found = []
    for code in codes_of(text):
        keys = list(quoted(code))
        found += [f"{code}: {problem}" for key in keys if (problem := fault(*key))]
        if len(keys) == 1 and keys[0][0] in short_names():
            found.append(f"{code}: write {short_names()[keys[0][0]]}")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_keys_of_pages_are_the_schemas(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The reference, as the docs' build writes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_ext"))
        yield import_module("training_config").page()
        sys.modules.pop("training_config", None)


def test_reference_has_a_row_for_every_key(page) -> None:
    rows = re.findall(r"^\| \[?`([\w.]+)`", page, re.M)
    assert sorted(rows) == sorted(KEYS)
    assert faults(page) == []
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    cells = [token for token in tokens if token.type == "td_open"]
    assert len(cells) == 4 * len(KEYS)
    anchors = {f"#{path.replace('.', '')}" for path, key in KEYS.items() if key.section}
    assert set(re.findall(r"\]\((#\w+)\)", page)) == anchors


def test_keys_are_found_in_pages() -> None:
    names = {
        name
        for path in PAGES
        for code in codes_of(path.read_text(encoding="utf-8"))
        for name, _ in quoted(code)
    }
    assert {"data.task", "optimizer.schedule", "logging.every", "fabric.devices"} <= names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`data.tusk`", "the schema has no key data.tusk"),
        ("| a |\n|---|\n| `optimizer.generator.lrr` |", "no key optimizer.generator.lrr"),
        ("`data.task: inpaint`", "data.task must be one of"),
        ("`losskit train data.size=8 fabric.devises=2`", "no key fabric.devises"),
        ("`optimizer: {lrr: 1}`", "did you mean 'optimizer.lr'?"),
        ("`model.inputs: [1]`", "model.inputs[0] must be text"),
        ("`task: inpainting`", "write data.task"),
        ("`keep_best`", "write validate.keep_best"),
    ],
)
def test_a_wrong_key_would_be_found(text: str, problem: str) -> None:
    (found,) = faults(text)
    assert problem in found


@pytest.mark.parametrize(
    "code",
    [
        "data.images=a data.task=paired",
        "model.generator.type",
        "optimizer: {lr: 1e-4}",
        "optimizer.schedule: {type: StepLR, step_size: 5}",
        "metrics.csv",
        "compile=True",
        "steps=3",
        "model: ViT-B-32",
    ],
)
def test_what_is_right_or_no_key_is_left_alone(code: str) -> None:
    assert faults(f"`{code}`") == []
