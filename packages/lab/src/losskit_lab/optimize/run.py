"""The folder of a run: settings, log, snapshots, and the state it goes on from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from losskit.cli.strict_json import strict_json
from losskit.errors import LosskitError
from losskit.images.pixels import write_image
from losskit.objectives.objective import ObjectiveOutput
from losskit.text import one_line
from losskit_lab.optimize.descent import Descent


class Run:
    """Keeps a descent on disk, so that it can be stopped at any step and resumed exactly.

    The folder holds ``run.json`` (settings), ``log.csv`` (a line a step), ``snapshots/``,
    ``state.pt``, and ``result.png``, the picture of that state.

    Args:
        folder: where; made if it does not exist.
        descent: what to keep.
        settings: all that the result depends on, as JSON: a run resumes with the same ones only.
        span: the values of black and white in the descent's images.
        resume: go on from the folder's state.

    Raises:
        LosskitError: the folder holds a run and ``resume`` was not asked for, or holds none, or one
            of other settings; or nothing can be written there.
    """

    def __init__(
        self,
        folder: Path,
        descent: Descent,
        settings: Mapping[str, Any],
        *,
        span: tuple[float, float] = (0.0, 1.0),
        resume: bool = False,
    ) -> None:
        self.folder = folder
        self.descent = descent
        self.span = span
        self._names: list[str] = []
        self._waiting: list[dict[str, float]] = []
        if resume:
            self._resume(json.loads(strict_json(settings)))
            return
        if (folder / "state.pt").exists():
            raise LosskitError(
                f"{folder} holds a run already: add --resume to go on, or give another --out"
            )
        try:
            (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LosskitError(f"cannot write to {folder}: {one_line(error)}") from error
        (folder / "run.json").write_text(strict_json(settings) + "\n", encoding="utf-8")
        (folder / "log.csv").unlink(missing_ok=True)
        for stale in self.snapshots():
            stale.unlink()
        self.snapshot()

    def _resume(self, settings: Mapping[str, Any]) -> None:
        if not (self.folder / "state.pt").exists():
            raise LosskitError(f"there is no run to resume in {self.folder}")
        try:
            then = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            state = torch.load(self.folder / "state.pt", weights_only=True)
            if not isinstance(then, dict):
                raise ValueError("run.json holds no settings")
        except Exception as error:  # a damaged file, whatever torch or json make of it
            raise LosskitError(f"cannot resume {self.folder}: {one_line(error)}") from error
        for key in sorted({*then, *settings}):
            if then.get(key) != settings.get(key):
                raise LosskitError(
                    f"cannot resume {self.folder}: {key} was {then.get(key)!r:.80} and is now "
                    f"{settings.get(key)!r:.80}"
                )
        try:
            self.descent.load_state_dict(state)
        except Exception as error:  # a whole file that holds something else
            raise LosskitError(
                f"cannot resume {self.folder}: state.pt is not of this run: {one_line(error)}"
            ) from error
        self._drop_after(self.descent.iteration)

    def _drop_after(self, iteration: int) -> None:
        """Forget what was written after the state that the run goes on from."""
        for path in self.snapshots():
            if int(path.stem) > iteration:
                path.unlink()
        log = self.folder / "log.csv"
        if not log.exists():
            return
        try:
            header, rows = _read_log(log)
            kept = [row for row in rows if int(row[0]) < iteration]
        except (ValueError, csv.Error) as error:
            raise LosskitError(
                f"cannot resume {self.folder}: log.csv is damaged ({one_line(error)}); "
                "move it away to go on with a new one"
            ) from error
        self._names = header[2:]
        _replace_log(log, [header, *kept])

    def snapshots(self) -> list[Path]:
        """The pictures so far, oldest first."""
        pictures = (self.folder / "snapshots").glob("*.png")
        return sorted(path for path in pictures if path.stem.isdecimal())  # others are not ours

    def frames(self) -> list[Path]:
        """The pictures of an animation: the snapshots, and the result where it is none of them."""
        frames = self.snapshots()
        if not frames or int(frames[-1].stem) != self.descent.iteration:
            frames.append(self.folder / "result.png")
        return frames

    def record(self, out: ObjectiveOutput) -> dict[str, float]:
        """Note one step's values; they are written when the run is next saved."""
        values = {name: float(value) for name, value in out.logs.items()}
        row = {"iteration": self.descent.iteration - 1, "total": float(out.total), **values}
        self._waiting.append(row)
        self._names += [name for name in values if name not in self._names]
        return row

    def snapshot(self) -> None:
        """Save, and keep the picture among the snapshots."""
        image = self._picture()
        write_image(image, self.folder / "snapshots" / f"{self.descent.iteration:06d}.png")
        self._save(image)

    def save(self) -> None:
        """Write the result, the log, and the state to go on from: the state last, and whole."""
        self._save(self._picture())

    def _picture(self) -> Tensor:
        low, high = self.span
        return (self.descent.image()[:1, :3] - low) / (high - low)

    def _save(self, image: Tensor) -> None:
        write_image(image, self.folder / "result.png")
        self._write_log()
        unfinished = self.folder / "state.pt.part"
        torch.save(self.descent.state_dict(), unfinished)
        unfinished.replace(self.folder / "state.pt")

    def _write_log(self) -> None:
        if not self._waiting:
            return
        log = self.folder / "log.csv"
        columns = ["iteration", "total", *self._names]
        lines = [[row.get(name, "") for name in columns] for row in self._waiting]
        header, earlier = _read_log(log) if log.exists() else ([], [])
        if header == columns:
            with log.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(lines)
        else:  # the first lines, or a term that starts later came in
            missing = [""] * (len(columns) - len(header))
            _replace_log(log, [columns, *(row + missing for row in earlier), *lines])
        self._waiting.clear()


def _read_log(log: Path) -> tuple[list[str], list[list[str]]]:
    """Header and lines; a last line that was cut short is left out.

    Raises:
        ValueError: it is no log.
    """
    with log.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header[:2] != ["iteration", "total"]:
        raise ValueError("no header 'iteration,total'")
    if rows and len(rows[-1]) != len(header):
        del rows[-1]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} of {len(header)} columns")
    return header, rows


def _replace_log(log: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write the log whole or not at all: a run that is killed meanwhile keeps the old one."""
    unfinished = log.with_name("log.csv.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    unfinished.replace(log)
