"""``losskit check PLUGIN|LOSS``: run the conformance kit and say how to mend what it finds."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from losskit.cli.listing import add_json, print_json, print_table

if TYPE_CHECKING:
    from losskit.testing.runner import CheckResult

_MARKS = {"passed": "✓", "failed": "✗", "not-applicable": "·", "expected-failure": "x"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit check``."""
    parser.add_argument("targets", nargs="*", metavar="PLUGIN|LOSS", help="what to check")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="run this check only; repeatable, or ids with commas",
    )
    parser.add_argument("--list", action="store_true", help="list the checks and why they exist")
    parser.add_argument("--verbose", "-v", action="store_true", help="show what passed, too")
    add_json(parser)
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    if arguments.list:
        return _list(arguments)
    if not arguments.targets:
        print("losskit check: name a plugin or a loss; see `losskit plugins`", file=sys.stderr)
        return 2
    from losskit.testing.runner import checks_of, run_check

    only = [name for text in arguments.only for name in text.split(",") if name]
    checks = [check for target in arguments.targets for check in checks_of(target, only=only)]
    results = []
    show_progress = sys.stderr.isatty() and not arguments.json
    for done, check in enumerate(checks):
        if show_progress:
            print(f"\r\033[K{done}/{len(checks)} {check}", end="", file=sys.stderr, flush=True)
        results.append(run_check(check))
    if show_progress:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    failed = [result for result in results if result.status == "failed"]
    if arguments.json:
        print_json(ok=not failed, results=[dataclasses.asdict(result) for result in results])
    else:
        _report(results, arguments.verbose)
    return 1 if failed else 0


def _list(arguments: argparse.Namespace) -> int:
    from losskit.testing.checks import all_checks

    checks = all_checks()
    if arguments.json:
        print_json(checks=[{"id": c.id, "scope": c.scope, "why": c.why} for c in checks])
    else:
        print_table(("CHECK", "RUN ON", "WHY"), [(c.id, c.scope, c.why) for c in checks])
    return 0


def _report(results: Iterable[CheckResult], verbose: bool) -> None:
    results = list(results)
    for subject in dict.fromkeys(result.subject for result in results):
        own = [result for result in results if result.subject == subject]
        failed = [result for result in own if result.status == "failed"]
        passed = [result for result in own if result.status == "passed"]
        expected = [result for result in own if result.status == "expected-failure"]
        mark = _MARKS["failed" if failed else "passed"]
        tally = len(passed) + len(failed)
        note = f", {len(expected)} failed as expected" if expected else ""
        print(f"{mark} {subject}: {len(passed)} of {tally} checks passed{note}")
        for result in own:
            if result.status == "failed":
                print(f"    ✗ {result.check}: {result.message}\n      why: {result.why}")
            elif verbose or result.status == "expected-failure":
                note = f": {result.message}" if result.message else ""
                print(f"    {_MARKS[result.status]} {result.check}{note}")
    count = sum(result.status == "failed" for result in results)
    seconds = sum(result.seconds for result in results)
    verdict = "all green" if not count else f"{count} failed"
    print(f"\n{len(results)} checks in {seconds:.1f} s: {verdict}")
