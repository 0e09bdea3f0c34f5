"""Progress bars, and a Ctrl-C that lets a step finish."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from losskit.discovery.extras import is_installed

_T = TypeVar("_T")


def let_threads_sleep() -> None:
    """Call before torch is imported: its threads spin while they wait, which a busy machine punishes."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def interrupt() -> Iterator[threading.Event]:
    """Let a step finish at Ctrl-C, so that what is saved is whole; the second one stops at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def stop(*_: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def progress_of(steps: int, done: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A bar with each term where there is a terminal and rich; else ten lines in all."""

    def terms(row: Mapping[str, float]) -> str:
        return "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "iteration")

    if not _has_bars():

        def line(row: Mapping[str, float]) -> None:
            if int(row["iteration"]) % max(1, steps // 10) == 0:
                print(f"{int(row['iteration']):>6}/{steps}  {terms(row)}", file=sys.stderr)

        yield line
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=steps, completed=done)
        yield lambda row: progress.update(task, advance=1, description=terms(row))


@contextlib.contextmanager
def steps_of(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """A bar that names each thing as work on it begins; a line for each without terminal or rich."""
    if not _has_bars():
        yield lambda name: print(f"{what} {name}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda name: progress.update(task, advance=1, description=f"{what} {name}")


def track(items: Sequence[_T], what: str) -> Iterable[_T]:
    """The items, with a bar as they are taken; ten lines in all without rich, none without a terminal."""
    if not sys.stderr.isatty():
        return items
    if not _has_bars():
        return _with_lines(items, what)
    from rich import progress
    from rich.console import Console

    return progress.track(items, what, console=Console(stderr=True))


def _with_lines(items: Sequence[_T], what: str) -> Iterator[_T]:
    for done, item in enumerate(items):
        if done % max(1, len(items) // 10) == 0:
            print(f"{what} {done}/{len(items)}", file=sys.stderr)
        yield item


def _has_bars() -> bool:
    return sys.stderr.isatty() and is_installed("rich")
