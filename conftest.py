"""Run every code block of the README and the docs as a test.

Blocks of one page share a namespace and a temporary working folder. Python blocks are executed, YAML
blocks with ``terms`` are built, and ``console`` lines that start with ``$ losskit`` are run.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from unittest import SkipTest

import pytest
import yaml
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser


class _PythonParser(PythonCodeBlockParser):
    """A Python block runs; one that wants true pretrained weights is skipped where they are not."""

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in super().__call__(document):
            evaluate = region.evaluator
            assert evaluate is not None
            region.evaluator = partial(_or_skip, evaluate)
            yield region


def _or_skip(evaluate: Callable[[Example], object], example: Example) -> None:
    from losskit.errors import ConfigError, WeightsError

    try:
        evaluate(example)
    except (WeightsError, ConfigError) as error:
        if not isinstance(error, WeightsError) and "cannot be fetched" not in str(error):
            raise
        raise SkipTest(f"true weights cannot be had here: {error}") from error


class _ObjectiveParser(CodeBlockParser):
    """A YAML block with ``terms`` is an objective, one with ``gan_loss`` two; both must build."""

    language = "yaml"

    def evaluate(self, example: Example) -> None:
        _or_skip(self._build, example)

    def _build(self, example: Example) -> None:
        import losskit

        config = yaml.safe_load(example.parsed)
        if isinstance(config, dict) and "terms" in config:
            losskit.load_objective(config)
        elif isinstance(config, dict) and "gan_loss" in config:
            from losskit_gan import GANObjective

            GANObjective(**config)


class _CommandParser(CodeBlockParser):
    """``$ losskit ...`` in a console block must exit with 0."""

    language = "console"

    def evaluate(self, example: Example) -> None:
        from losskit.cli import main

        for line in example.parsed.splitlines():
            if line.startswith("$ losskit "):
                assert main(shlex.split(line)[2:]) == 0, line


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A page's blocks run in a temporary folder, and what they register is forgotten after."""
    import torch

    from losskit import registry

    local = dict(registry._LOCAL)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        yield
    registry._LOCAL.clear()
    registry._LOCAL.update(local)


pytest_collect_file = Sybil(
    parsers=[_PythonParser(), _ObjectiveParser(), _CommandParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/guides/*.md", "packages/*/README.md"],
    excludes=["docs/authoring.md"],
    fixtures=["page_folder"],
).pytest()
