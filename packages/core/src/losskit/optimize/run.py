"""The folder of a run: settings, log, snapshots, and the state it goes on from."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from losskit.cli.images import write_image
from losskit.errors import LosskitError
from losskit.objective import ObjectiveOutput
from losskit.optimize.descent import Descent
from losskit.spec import one_line


class Run:
    """Keeps a descent on disk, so that it can be stopped at any step and resumed exactly.

    The folder holds ``run.json`` (settings), ``log.csv`` (a line a step), ``snapshots/``,
    ``state.pt``, and at the end ``result.png``.

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
            self._resume(json.loads(json.dumps(settings)))
            return
        if (folder / "state.pt").exists():
            raise LosskitError(
                f"{folder} holds a run already: add --resume to go on, or give another --out"
            )
        try:
            (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LosskitError(f"cannot write to {folder}: {one_line(error)}") from error
        (folder / "run.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
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
        except Exception as error:  # a damaged file, whatever torch or json make of it
            raise LosskitError(f"cannot resume {self.folder}: {one_line(error)}") from error
        for key in sorted({*then, *settings}):
            if then.get(key) != settings.get(key):
                raise LosskitError(
                    f"cannot resume {self.folder}: {key} was {then.get(key)!r:.80} and is now "
                    f"{settings.get(key)!r:.80}"
                )
        self.descent.load_state_dict(state)
        self._drop_after(self.descent.iteration)

    def _drop_after(self, iteration: int) -> None:
        """Forget what was written after the state that the run goes on from."""
        for path in self.snapshots():
            if int(path.stem) > iteration:
                path.unlink()
        log = self.folder / "log.csv"
        if log.exists():
            with log.open(encoding="utf-8", newline="") as file:
                header, *rows = list(csv.reader(file))
            self._names = header[2:]
            with log.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(
                    [header, *(row for row in rows if int(row[0]) < iteration)]
                )

    def snapshots(self) -> list[Path]:
        """The pictures so far, oldest first."""
        return sorted((self.folder / "snapshots").glob("*.png"))

    def record(self, out: ObjectiveOutput) -> dict[str, float]:
        """Note one step's values; they are written with the next snapshot."""
        values = {name: float(value) for name, value in out.logs.items()}
        row = {"iteration": self.descent.iteration - 1, "total": float(out.total), **values}
        self._waiting.append(row)
        self._names += [name for name in values if name not in self._names]
        return row

    def snapshot(self) -> None:
        """Write the picture, the log, and the state to go on from: the state last, and whole."""
        low, high = self.span
        image = (self.descent.image()[:1, :3] - low) / (high - low)
        write_image(image, self.folder / "snapshots" / f"{self.descent.iteration:06d}.png")
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
        earlier: list[dict[str, Any]] = []
        rewrite = not log.exists()
        if log.exists():
            with log.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                if list(reader.fieldnames or []) != columns:  # a term that starts later came in
                    earlier, rewrite = list(reader), True
        with log.open("w" if rewrite else "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            if rewrite:
                writer.writeheader()
            writer.writerows([*earlier, *self._waiting])
        self._waiting.clear()
