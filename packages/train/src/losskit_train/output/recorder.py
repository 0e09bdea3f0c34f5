"""Loss curves: means since the last row, to ``metrics.csv`` and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from losskit.discovery.extras import require
from losskit_train.output.files import write_atomically


class Recorder:
    """Adds up logged values on their device and writes their means.

    Between two rows nothing waits for the device. A value that a step does not have (a lazy penalty)
    counts only in the steps that have it. Rows hold no times: those of a resumed run equal those of
    an uninterrupted one.

    Args:
        folder: gets ``metrics.csv`` and TensorBoard's events.
        tensorboard: whether to write the latter.

    Raises:
        LosskitError: it is not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = True) -> None:
        if tensorboard:
            require("logging.tensorboard", "tensorboard", distribution="losskit-train")
        self.path = folder / "metrics.csv"
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self._columns: list[str] = ["step"]
        self._folder = folder
        self._tensorboard = tensorboard
        self._writer: Any = None

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count one step's values, which must carry no gradient."""
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.float()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means since the last call, and start anew."""
        names = list(self.sums)
        if not names:
            return {}
        stacked = torch.stack([self.sums[name] / self.counts[name] for name in names])
        self.sums, self.counts = {}, {}
        return dict(zip(names, stacked.tolist(), strict=True))  # the one wait for the device

    def begin(self, step: int) -> None:
        """Start at a step: earlier rows stay, later ones, of a run that died, go."""
        rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        self._columns = ["step", *sorted({k for row in rows for k in row} - {"step"})]
        self._rewrite(rows)
        if self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row."""
        row = {"step": step, **values}
        if set(row) <= set(self._columns):
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(_texts(row))
        else:  # a value seen for the first time needs a column
            rows = [*read_metrics(self.path), row]
            self._columns += sorted(set(row) - set(self._columns))
            self._rewrite(rows)
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def image(self, name: str, image: Tensor, step: int) -> None:
        """Show a ``(c, h, w)`` image in [0, 1] in TensorBoard."""
        if self._writer is not None:
            self._writer.add_image(name, image, step)

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(_texts(row) for row in rows)
        write_atomically(self.path, text.getvalue().encode())

    def state_dict(self) -> dict[str, Any]:
        """Return the sums since the last row."""
        return {"sums": {k: v.cpu() for k, v in self.sums.items()}, "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore what ``state_dict`` gave."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


def _texts(row: Mapping[str, float]) -> dict[str, str]:
    return {
        name: str(int(value)) if name == "step" else format(value, ".9g")  # float32 to the last bit
        for name, value in row.items()
    }


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    return [
        {name: float(value) for name, value in row.items() if value not in ("", None)}
        for row in csv.DictReader(lines)
    ]
