"""The parsers of every ``losskit`` command in one, for the directive that describes a parser."""

from __future__ import annotations

import argparse

from losskit.cli.dispatch import BUILT_IN
from losskit.discovery.registry import list_commands
from losskit.discovery.targets import resolve_target


def parser() -> argparse.ArgumentParser:
    """What ``losskit`` itself makes a command at a time, so that it imports only one."""
    whole = argparse.ArgumentParser(prog="losskit", add_help=False)
    parsers = whole.add_subparsers(metavar="COMMAND", required=True)
    commands = BUILT_IN | {c.name: (c.target, c.summary, c.example) for c in list_commands()}
    for name, (target, summary, example) in commands.items():
        epilog = f"losskit {name} {example}" if example else None
        one = parsers.add_parser(name, help=summary, description=summary, epilog=epilog)
        resolve_target(target)(one)
    return whole
