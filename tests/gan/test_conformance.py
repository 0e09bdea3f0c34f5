"""Every loss of the plugin passes the kit that third parties use."""

from __future__ import annotations

import pytest

from losskit.testing import Check, parametrize_with_checks

# The kit turns a value that carries a gradient into a float for its message.
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")


@parametrize_with_checks("gan")
def test_conformance(check: Check) -> None:
    check()
