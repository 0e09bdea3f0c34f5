"""``losskit new NAME``: write a plugin package to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from losskit.scaffold import Names, write_plugin


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit new``."""
    parser.add_argument("name", help="the plugin's name, as demo-loss")
    parser.add_argument(
        "--author", default="", metavar="NAME", help="'Ada Lovelace <ada@example.org>'"
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(), metavar="DIR", help="where to write it (default: here)"
    )
    parser.set_defaults(run=_new)


def _new(arguments: argparse.Namespace) -> int:
    names = Names.parse(arguments.name)
    root = write_plugin(arguments.name, arguments.dir, author=arguments.author)
    print(f"wrote {root}: a plugin with one loss, {names.namespace}/{names.loss_class}\n")
    print("next:")
    print(f"  pip install -e '{root}[dev]'")
    print(f"  losskit check {names.namespace}")
    print(f"  then put your loss into {root / 'src' / names.package / 'losses.py'}")
    return 0
