"""The conformance kit: what a plugin and its losses must do, as checks anybody can run.

In a plugin's tests::

    from losskit.testing import Check, parametrize_with_checks

    @parametrize_with_checks("demo_loss")
    def test_conformance(check: Check) -> None:
        check()

or from the shell: ``losskit check demo_loss``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from losskit.discovery.lazy import lazy_exports

_EXPORTS = {
    "Check": "losskit.testing.checks",
    "CheckFailed": "losskit.testing.case",
    "CheckResult": "losskit.testing.runner",
    "ExpectedFailure": "losskit.testing.case",
    "NotApplicable": "losskit.testing.case",
    "PluginSandbox": "losskit.testing.sandbox",
    "all_checks": "losskit.testing.checks",
    "check_loss": "losskit.testing.runner",
    "check_plugin": "losskit.testing.runner",
    "losskit_plugins": "losskit.testing.sandbox",
    "parametrize_with_checks": "losskit.testing.parametrize",
    "run_checks": "losskit.testing.runner",
}
# Written out: type checkers do not follow a computed list, and then nothing is exported to them.
__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "ExpectedFailure",
    "NotApplicable",
    "PluginSandbox",
    "all_checks",
    "check_loss",
    "check_plugin",
    "losskit_plugins",
    "parametrize_with_checks",
    "run_checks",
]

if TYPE_CHECKING:
    from losskit.testing.case import CheckFailed, ExpectedFailure, NotApplicable
    from losskit.testing.checks import Check, all_checks
    from losskit.testing.parametrize import parametrize_with_checks
    from losskit.testing.runner import CheckResult, check_loss, check_plugin, run_checks
    from losskit.testing.sandbox import PluginSandbox, losskit_plugins

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
