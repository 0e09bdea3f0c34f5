"""The kit under pytest: one test per plugin, loss and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from losskit.errors import LosskitError, nearest
from losskit.testing.case import CheckFailed, ExpectedFailure, NotApplicable
from losskit.testing.checks import Check
from losskit.testing.runner import checks_of


def parametrize_with_checks(
    *targets: str,
    expected_failures: Mapping[str, str] | None = None,
    only: Iterable[str] = (),
) -> pytest.MarkDecorator:
    """Run a test once per check; its argument ``check`` is the check, to be called.

    Args:
        targets: plugins' or losses' names.
        expected_failures: test id → why it fails: ``{"gan/GANLoss:gradcheck": "reason"}``. They are
            strict: one that passes is an error, so that the list never outlives its reasons.
        only: ids of checks; all, if none is given.

    Raises:
        ValueError: an expected failure has no reason, or is no check of the targets.

    Example::

        @parametrize_with_checks("demo_loss")
        def test_conformance(check: Check) -> None:
            check()
    """
    expected = dict(expected_failures or {})
    wanted = tuple(only)
    checks = [check for target in targets for check in _checks_or_failure(target, wanted)]
    known = [str(check) for check in checks]
    for key, reason in expected.items():
        if key not in known:
            raise ValueError(
                f"expected_failures names {key!r}, which is no check of "
                f"{', '.join(targets)}{nearest(key, known)}"
            )
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"the expected failure {key!r} needs a reason, not {reason!r}")
    parameters = [
        pytest.param(
            _Skipping(check),
            id=str(check),
            marks=[pytest.mark.xfail(reason=expected[str(check)], raises=CheckFailed, strict=True)]
            if str(check) in expected
            else [],
        )
        for check in checks
    ]
    return pytest.mark.parametrize("check", parameters)


class _Skipping:
    """A check that tells pytest where it does not apply."""

    def __init__(self, check: Check) -> None:
        self.check = check

    def __call__(self) -> None:
        try:
            self.check()
        except NotApplicable as reason:
            pytest.skip(str(reason))
        except ExpectedFailure as reason:
            pytest.xfail(str(reason))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.check, name)

    def __repr__(self) -> str:
        return str(self.check)


def _checks_or_failure(target: str, only: tuple[str, ...]) -> list[Check]:
    """The checks of a plugin or loss; where it is not installed, one that fails and says so.

    Raising here would stop the collection of every other test in the file.
    """
    try:
        return checks_of(target, only=only)
    except LosskitError as error:
        return [Check("loads", "plugin", _failing(error), case=_Missing(target))]


class _Missing:
    def __init__(self, name: str) -> None:
        self.name = name


def _failing(error: LosskitError) -> Callable[[Any], None]:
    def check_installed(_: Any) -> None:
        """The plugin under test must be installed."""
        raise CheckFailed(f"{error}. To mend it: install the package (pip install -e .).")

    return check_installed
