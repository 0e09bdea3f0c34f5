"""A progress bar with the latest losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Progress:
    """Rich's bar; nothing at all where it is not shown.

    The step, the total and the time left are always there; where the line is short, losses are
    left out, the last ones first. In a pipe a line is printed each time the losses are shown.

    Args:
        total: steps in all.
        done: steps made before.
        shown: whether to show anything.
    """

    def __init__(self, total: int, done: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown:
            from rich import progress
            from rich.console import Console
            from rich.table import Column

            console = Console()  # of the stream that is stdout now
            count = 2 * len(str(total)) + 1

            def column(width: int | None = None) -> Column:
                # Rich cuts the first columns where the line is short: none but the losses may give.
                return Column(no_wrap=True, min_width=width)

            self._bar = progress.Progress(
                progress.TextColumn("step", table_column=column(4)),
                progress.MofNCompleteColumn(table_column=column(count)),
                progress.BarColumn(bar_width=_BAR),
                progress.TimeRemainingColumn(table_column=column(_TIME)),
                progress.TextColumn("{task.fields[losses]}", table_column=column()),
                console=console,
            )
            self._room = console.width - count - _BAR - _TIME - len("step") - 4
            self._terminal = console.is_terminal
            self._task = self._bar.add_task("train", total=total, completed=done, losses="")

    def __enter__(self) -> Progress:
        if self._bar is not None and self._terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None and self._terminal:
            self._bar.stop()

    def advance(self) -> None:
        """One step more."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def show(self, losses: Mapping[str, float]) -> None:
        """Show the latest means beside the bar."""
        if self._bar is None:
            return
        task = self._bar.tasks[0]
        if not self._terminal:
            left = (
                "" if task.time_remaining is None else f", {math.ceil(task.time_remaining)} s left"
            )
            text = fitting(losses, 10**6)
            print(f"step {task.completed:.0f}/{task.total:.0f}{left}: {text}", flush=True)  # noqa: T201
        self._bar.update(self._task, losses=fitting(losses, self._room))

    def show_other(self, text: str) -> None:
        """Show in the losses' place what takes time beside the steps; not in a pipe."""
        if self._bar is not None and self._terminal:
            self._bar.update(self._task, losses=text[: self._room])


_BAR, _TIME = 12, 8


def fitting(losses: Mapping[str, float], room: int) -> str:
    """As many of the losses as go into so many characters, the first ones first."""
    text = ""
    for name, value in losses.items():
        more = f"{text}  {name.removeprefix('loss_')} {value:.3g}".strip()
        if len(more) > room:
            break
        text = more
    return text
