"""Heat maps of losses that give a value per pixel, for ``losskit eval --maps``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from losskit.images.files import SUFFIXES
from losskit.images.pixels import write_image
from losskit.objectives.scoring import one_line_errors

if TYPE_CHECKING:
    from torch import Tensor

    from losskit.objectives.scoring import Scorer

#: Points of matplotlib's "cividis" (Nuñez et al. 2018): even in lightness, safe for colour-blind eyes.
_COLOURS = (
    (0, 34, 78),
    (36, 52, 110),
    (78, 85, 112),
    (108, 109, 115),
    (139, 134, 120),
    (173, 162, 112),
    (211, 193, 92),
    (254, 232, 56),
)


class HeatMaps:
    """Writes ``DIR/LOSS/IMAGE.png`` and, as each picture has its own scale, ``DIR/scales.csv``.

    Args:
        scorers: the losses by what they are called on the command line.
        folder: where to write.
    """

    def __init__(self, scorers: Mapping[str, Scorer], folder: Path) -> None:
        self.folder = folder
        self.terms = {key: s.unreduced for key, s in scorers.items() if s.unreduced is not None}
        self.scales: list[tuple[str, str, float]] = []
        self._without: set[str] = set(scorers) - set(self.terms)

    def write(self, name: str, pred: Tensor, target: Tensor) -> None:
        """The maps of one pair, ``(1, 3, h, w)`` each."""
        import torch

        for key, term in self.terms.items():
            with one_line_errors(f"{key} on {name!r}"), torch.no_grad():
                values = term(pred=pred, target=target)
            if values is None or values.ndim < 3 or values.shape[-2:] != pred.shape[-2:]:
                self._without.add(key)
                continue
            heat = values.reshape(-1, *pred.shape[-2:]).mean(0).float()
            finite = torch.where(heat.isfinite(), heat, 0)
            largest = float(finite.max())
            # NaN and infinity are shown as bright as it gets: they are what one looks for.
            heat = torch.where(heat.isfinite(), heat, max(largest, 1e-12))
            folder = key.replace(":", "-").replace("/", "-")
            self.scales.append((key, name, largest))
            stem = name.removesuffix(Path(name).suffix) if name.lower().endswith(SUFFIXES) else name
            write_image(colour(heat / max(largest, 1e-12)), self.folder / folder / f"{stem}.png")

    def finish(self) -> None:
        """Write the scales, and say which losses gave no map."""
        with one_line_errors(f"cannot write to {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "scales.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("loss", "image", "value_at_the_brightest"))
                writer.writerows(self.scales)
        for key in sorted(self._without):
            print(f"losskit: {key} gives no value per pixel, so no map", file=sys.stderr)


def colour(heat: Tensor) -> Tensor:
    """Values in [0, 1], ``(h, w)``, as ``(3, h, w)`` colours from dark blue to yellow."""
    import torch

    table = torch.tensor(_COLOURS, dtype=torch.float32, device=heat.device) / 255
    place = heat.clamp(0, 1) * (len(_COLOURS) - 1)
    lower = place.floor().long().clamp_max(len(_COLOURS) - 2)
    share = (place - lower).unsqueeze(-1)
    return (table[lower] * (1 - share) + table[lower + 1] * share).permute(2, 0, 1)
