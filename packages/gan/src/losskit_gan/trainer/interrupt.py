"""Ctrl-C that lets a step finish."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any


class Stopped(Exception):  # noqa: N818 - no error: the user asked for it
    """Training was interrupted; ``checkpoint`` is where it goes on from."""

    def __init__(self, checkpoint: Path, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.checkpoint = checkpoint
        self.step = step


class Interrupt:
    """While it is entered, the first Ctrl-C or SIGTERM is noted; a second one ends the program.

    Signals reach the main thread only; entered elsewhere it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
