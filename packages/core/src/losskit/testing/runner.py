"""Run the checks on plugins and losses and say how it went."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from losskit.discovery.entry_points import RESERVED
from losskit.discovery.registry import get_spec, plugins
from losskit.errors import LosskitError, PluginWarning, nearest
from losskit.spec import Example
from losskit.testing.case import CheckFailed, ExpectedFailure, LossCase, NotApplicable
from losskit.testing.checks import Check, all_checks
from losskit.testing.plugin_case import PluginCase
from losskit.text import one_line

Status: TypeAlias = Literal["passed", "failed", "not-applicable", "expected-failure"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check on one plugin or loss.

    Args:
        subject: the plugin's name or the loss's qualified name.
        check: the check's id.
        status: ``passed``, ``failed``, ``not-applicable`` or ``expected-failure``.
        message: what is wrong and how to mend it, or why it does not apply.
        why: why the check exists.
        seconds: how long it took.
    """

    subject: str
    check: str
    status: Status
    message: str = ""
    why: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.subject}:{self.check}: {self.message or self.status}"


def checks_of(target: str, *, only: Iterable[str] = ()) -> list[Check]:
    """The checks of a plugin (its own and those of all its losses) or of a loss, bound to it.

    Args:
        target: a plugin's name, or a loss's name, qualified name or alias.
        only: ids of checks; all, if none is given.

    Raises:
        LosskitError: there is no such plugin, loss or check.
    """
    known = [check.id for check in all_checks()]
    wanted = list(only)
    for name in wanted:
        if name not in known:
            raise LosskitError(
                f"there is no check {name!r}{nearest(name, known)}; see `losskit check --list`"
            )
    checks = [check for check in all_checks() if not wanted or check.id in wanted]
    with warnings.catch_warnings():
        # A broken plugin beside the one under test is not its fault; its own is `loads`'s to tell.
        warnings.simplefilter("ignore", PluginWarning)
        installed = [record.name for record in plugins()]
    if target in installed:
        plugin = PluginCase(target)
        bound = [replace(check, case=plugin) for check in checks if check.scope == "plugin"]
        for spec in plugin.losses:
            bound += _on_loss(checks, LossCase(spec))
        return bound
    try:
        return _on_loss(checks, LossCase(get_spec(target)))
    except LosskitError as error:
        hint = "; nor is there a plugin of that name"
        if RESERVED.get(target):
            hint = f"; the plugin of that name is not installed: pip install {RESERVED[target]}"
        raise type(error)(f"{one_line(error)}{hint}") from error


def _on_loss(checks: Iterable[Check], case: LossCase) -> list[Check]:
    return [replace(check, case=case) for check in checks if check.scope == "loss"]


def run_check(check: Check) -> CheckResult:
    """Run one bound check; whatever it raises becomes a result."""
    start = time.perf_counter()
    status: Status = "passed"
    message = ""
    try:
        check()
    except NotApplicable as reason:
        status, message = "not-applicable", one_line(reason)
    except ExpectedFailure as reason:
        status, message = "expected-failure", one_line(reason)
    except CheckFailed as failure:
        status, message = "failed", one_line(failure)
    except Exception as error:
        status = "failed"
        message = f"it raised {type(error).__name__}: {one_line(error)[:300]}"
    seconds = round(time.perf_counter() - start, 3)
    return CheckResult(check.case.name, check.id, status, message, check.why, seconds)


def run_checks(target: str, *, only: Iterable[str] = ()) -> Iterator[CheckResult]:
    """Run the checks of a plugin or a loss, one result after the other.

    Args:
        target: a plugin's name, or a loss's name, qualified name or alias.
        only: ids of checks; all, if none is given.

    Raises:
        LosskitError: there is no such plugin, loss or check.
    """
    checks = checks_of(target, only=only)
    return (run_check(check) for check in checks)


def check_plugin(
    name: str, *, only: Iterable[str] = (), expected_failures: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Run all checks on a plugin and on each of its losses.

    Args:
        name: the entry point's name.
        only: ids of checks; all, if none is given.
        expected_failures: ``{"gan/GANLoss:gradcheck": "reason"}``.

    Returns:
        Every result, if none failed unexpectedly.

    Raises:
        CheckFailed: with all that failed.
        LosskitError: no such plugin is installed.
    """
    return _raised(
        list(map(run_check, checks_of(PluginCase(name).name, only=only))), expected_failures
    )


def check_loss(
    name: str,
    *,
    example: Callable[..., Example] | None = None,
    only: Iterable[str] = (),
    expected_failures: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Run all checks on one loss, also on one that ``losskit.register`` put there.

    Args:
        name: a loss's name, qualified name or alias.
        example: a factory to use instead of the one the spec names.
        only: ids of checks; all, if none is given.
        expected_failures: ``{"gradcheck": "reason"}``.

    Returns:
        Every result, if none failed unexpectedly.

    Raises:
        CheckFailed: with all that failed.
        LosskitError: there is no such loss or check.
    """
    case = LossCase(get_spec(name), factory=example)
    checks = [replace(check, case=case) for check in checks_of(case.name, only=only)]
    failures = {f"{case.name}:{key}": reason for key, reason in (expected_failures or {}).items()}
    return _raised(list(map(run_check, checks)), failures)


def _raised(
    results: list[CheckResult], expected_failures: Mapping[str, str] | None
) -> list[CheckResult]:
    expected = dict(expected_failures or {})
    judged: list[CheckResult] = []
    problems: list[str] = []
    ran = {f"{result.subject}:{result.check}" for result in results}
    for key, reason in expected.items():
        if key not in ran:
            problems.append(
                f"expected_failures names {key!r}, which was not run{nearest(key, ran)}"
            )
        if not reason.strip():
            problems.append(f"the expected failure {key!r} has no reason")
    for result in results:
        key = f"{result.subject}:{result.check}"
        if key not in expected:
            judged.append(result)
            if result.status == "failed":
                problems.append(str(result))
        elif result.status == "failed":
            judged.append(replace(result, status="expected-failure", message=expected[key]))
        else:
            judged.append(result)
            problems.append(f"{key} is expected to fail and does not: take it off the list")
    if problems:
        raise CheckFailed("\n".join(problems))
    return judged
