"""The ``losskit`` command: each subcommand in a module of its own, imported when it is called."""

from losskit.cli.dispatch import main

__all__ = ["main"]
