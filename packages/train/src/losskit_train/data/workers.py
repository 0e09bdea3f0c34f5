"""Processes that load data, and the signals that reach them."""

from __future__ import annotations

import os
import signal
import threading


def leave_to_main_process(_worker: int = 0) -> None:
    """In a process that loads data: signals are the main process's to act on.

    One that ended by itself would end the training before it could be saved, and batch systems send
    SIGTERM to every process of a job. SIGTERM is not just ignored, for the main process ends
    loading processes by it: who sent it is looked at, where the system tells.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.setpgrp()
    if hasattr(signal, "sigwaitinfo"):
        # Blocked in all threads, it waits for the one that asks for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_at_parents_sigterm, daemon=True).start()


def _end_at_parents_sigterm() -> None:
    while True:
        sent = signal.sigwaitinfo({signal.SIGTERM})
        if sent.si_pid == os.getppid():
            os._exit(0)
