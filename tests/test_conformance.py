"""Every loss of our own plugins passes the kit that third parties are given."""

from __future__ import annotations

from losskit.testing import Check, parametrize_with_checks

PLUGINS = ("core", "gan", "perceptual", "clip", "identity")

#: "plugin/Loss:check" → why it cannot pass; strict, so a reason that no longer holds is an error.
EXPECTED_FAILURES: dict[str, str] = {}


@parametrize_with_checks(*PLUGINS, expected_failures=EXPECTED_FAILURES)
def test_conformance(check: Check) -> None:
    check()
