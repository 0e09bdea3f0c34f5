"""Write the reference of the training config: a table for each section, from the dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from losskit_train.config.reference import Key, all_keys, description, keys_of
from losskit_train.config.training import TrainConfig

_INTRO = """# Training config

Every key of the YAML, JSON or TOML file that `losskit train` takes. `losskit train --print-config` prints them
all as YAML with comments, and `losskit train --print-config config.yaml` what a config comes to. On the command line
a key is given with its section, `losskit train config.yaml optimizer.lr=1e-4`. The
[guide](../guides/gan.md#by-command) shows how they go together.
"""


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_reference(Path(app.srcdir) / "reference"))
    return {"parallel_read_safe": True}


def write_reference(folder: Path) -> None:
    """Write ``training-config.md``."""
    folder.mkdir(exist_ok=True)
    path, text = folder / "training-config.md", page()
    # An unchanged page is left alone, so that Sphinx does not read it again.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def page() -> str:
    """The sections' tables, each below what its docstring says."""
    parts = [_INTRO, "## Top level\n", _table(list(keys_of(TrainConfig)))]
    for key in all_keys():
        if key.section is not None:
            parts += [f"## {key.path}\n", description(key.section) + "\n"]
            parts.append(_table(list(keys_of(key.section, key.path))))
    return "\n".join(parts)


def _table(keys: Sequence[Key]) -> str:
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *_rows(keys), ""])


def _rows(keys: Sequence[Key]) -> Iterator[str]:
    for key in keys:
        name = f"[`{key.path}`](#{key.path.replace('.', '')})" if key.section else f"`{key.path}`"
        example = f" Example: `{key.example}`." if key.example else ""
        meaning = key.meaning[:1].upper() + key.meaning[1:] + example
        cells = (name, key.type, key.default_in_words(), meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
