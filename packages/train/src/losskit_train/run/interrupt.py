"""Ctrl-C that lets a step finish, and processes that end with the one they belong to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


class Stopped(Exception):  # noqa: N818 - no error: the user asked for it
    """Training was interrupted; ``checkpoint`` is where it goes on from."""

    def __init__(self, checkpoint: Path, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.checkpoint = checkpoint
        self.step = step


#: Ctrl-C reaches every process of a terminal, and launchers send it on: seconds in which it is one.
_ONE_PRESS = 1.0


class Interrupt:
    """While it is entered, the first Ctrl-C or SIGTERM is noted; a later Ctrl-C ends the program.

    Signals reach the main thread only; entered elsewhere it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
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
        now = time.monotonic()
        if not self.asked:
            self.asked, self._since = True, now
        elif number == signal.SIGINT and now - self._since > _ONE_PRESS:
            raise KeyboardInterrupt


#: The process that starts the others of a run, in their environment.
_LAUNCHER = "LOSSKIT_LAUNCHER_PID"
_started_by: int | None = None


@contextmanager
def ends_with_its_launcher() -> Iterator[None]:
    """While a run's processes look for each other, end this one if the one that started it is gone.

    It would wait for it half an hour. Those that another program starts (torchrun, Slurm) are that
    program's to end.
    """
    global _started_by
    # Taken out again: what is started later is not of this run.
    given = os.environ.pop(_LAUNCHER, None)
    if given is not None and os.environ.get("LOCAL_RANK", "0") != "0":
        _started_by = int(given)  # also for the next run of the same script
    launcher = _started_by
    if launcher is None:
        os.environ[_LAUNCHER] = str(os.getpid())
        try:
            yield
        finally:
            os.environ.pop(_LAUNCHER, None)
        return
    met = threading.Event()

    def watch() -> None:
        while not met.wait(0.5):
            if os.getppid() != launcher:
                os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        met.set()
        watcher.join()
