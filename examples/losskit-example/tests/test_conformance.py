"""losskit's conformance kit: one test per check, the same that `losskit check` runs."""

from losskit.testing import Check, parametrize_with_checks


@parametrize_with_checks("example")
def test_conformance(check: Check) -> None:
    check()
