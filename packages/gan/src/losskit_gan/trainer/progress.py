"""A progress bar with the latest losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Progress:
    """Rich's bar; nothing at all where it is not shown.

    Args:
        total: steps in all.
        done: steps made before.
        shown: whether to show anything.
    """

    def __init__(self, total: int, done: int, *, shown: bool) -> None:
        self._bar: Any = None
        if shown:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("step"),
                progress.MofNCompleteColumn(),
                progress.BarColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[losses]}"),
            )
            self._task = self._bar.add_task("train", total=total, completed=done, losses="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """One step more."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def show(self, losses: Mapping[str, float]) -> None:
        """Show the latest means beside the bar."""
        if self._bar is not None:
            text = "  ".join(
                f"{name.removeprefix('loss_')} {value:.3g}" for name, value in losses.items()
            )
            self._bar.update(self._task, losses=text)
