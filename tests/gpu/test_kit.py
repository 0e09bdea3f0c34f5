"""The kit's check of devices, which takes the card where there is one."""

from __future__ import annotations

import torch

import losskit
from losskit.testing import Check, parametrize_with_checks

PLUGINS = [record.name for record in losskit.plugins() if record.usable and record.losses]


@parametrize_with_checks(*PLUGINS, only=["device"])
def test_device(check: Check, device: torch.device) -> None:
    check()
