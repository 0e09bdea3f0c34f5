"""``losskit migrate CONFIG``: another library's config as an objective or a training config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from losskit.cli.listing import add_json, print_json
from losskit.errors import LosskitError
from losskit.text import one_line, printable

if TYPE_CHECKING:
    from losskit_lab.migrate.convert import Migration


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit migrate``."""
    parser.description = (
        "Print a config of MMagic (.py), BasicSR or traiNNer-redux (.yml) as YAML: an objective, or, "
        "for a GAN, a config of `losskit train`. The config is read, not run; what could not be "
        "carried over stands in comments."
    )
    parser.add_argument(
        "config", type=Path, help="a config of MMagic, MMEditing, BasicSR or traiNNer-redux"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")
    parser.add_argument(
        "--training",
        action="store_true",
        help="print a training config for a generator without a discriminator too",
    )
    add_json(parser)
    parser.set_defaults(run=_migrate)


def _migrate(arguments: argparse.Namespace) -> int:
    from losskit_lab.migrate.convert import migrate

    result = migrate(arguments.config, training=arguments.training)
    if arguments.json:
        print_json(
            terms=[{"path": t.path, "config": t.config, "notes": t.notes} for t in result.terms],
            training=result.training,
            notes=result.notes,
        )
    elif arguments.out:
        try:
            arguments.out.write_text(result.to_yaml(), encoding="utf-8")
        except OSError as error:
            raise LosskitError(f"cannot write {arguments.out}: {one_line(error)}") from error
        print(f"{arguments.out}: {_contents(result)}")
    else:
        print(result.to_yaml(), end="")
    if not result.terms and result.training is None:
        hint = f": {result.notes[0]}" if result.notes else ""
        print(f"losskit: no loss was found in {arguments.config}{hint}", file=sys.stderr)
        return 1
    for note in result.missing:
        print(f"losskit: {printable(note)}", file=sys.stderr)
    return 1 if result.missing else 0


def _contents(result: Migration) -> str:
    terms = "1 term" if len(result.terms) == 1 else f"{len(result.terms)} terms"
    what = f"an objective of {terms}" if result.training is None else "a training config"
    return f"{what}, with {len(result.notes)} remarks at its head" if result.notes else what
