"""Measurements of a loss on distorted photographs: values, ranking, gradient."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from losskit.backbones import shared_features
from losskit.errors import LosskitError
from losskit_lab.atlas.cost import Cost, cost_of
from losskit_lab.atlas.distortions import DISTORTIONS, at_psnr, psnr
from losskit_lab.atlas.subjects import ImageLoss

#: All distortions are ranked where each leaves this PSNR: plain squared error ties them all.
EQUAL_PSNR = 24.0
#: The unit of a loss's values: its increase under this much noise, the third step.
UNIT = ("noise", 3)
#: Where gradients are shown.
GRADIENTS = {"noise": 3, "blur": 3, "jpeg": 4, "brightness": 3}


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph and its spoilt versions.

    Args:
        name: of the file.
        clean: ``(1, 3, h, w)`` in [0, 1].
        steps: by distortion, one image a level; the first is the photograph itself.
        equal: by distortion, the strength at ``EQUAL_PSNR``, the image, and the PSNR reached.
    """

    name: str
    clean: Tensor
    steps: Mapping[str, tuple[Tensor, ...]]
    equal: Mapping[str, tuple[float, Tensor, float]]

    @classmethod
    def of(cls, name: str, clean: Tensor) -> Photo:
        """Spoil a photograph in every way and strength."""
        equal = {}
        for distortion in DISTORTIONS:
            strength, image = at_psnr(distortion, clean, EQUAL_PSNR)
            equal[distortion.name] = (strength, image, psnr(image, clean))
        steps = {d.name: tuple(d.at(clean, level) for level in d.levels) for d in DISTORTIONS}
        return cls(name, clean, steps, equal)


@dataclass(slots=True)
class Entry:
    """A loss in the atlas. Values are means over the photographs.

    Args:
        loss: what was measured.
        curves: by distortion, the increase over the clean photograph's value, one a level, in
            units of the change under noise of σ = 0.1; NaN where that is 0.
        equal: by distortion, the increase at equal PSNR, in the same unit.
        ranks: by distortion, 1 for the one the loss minds most at equal PSNR; ties share a rank.
        unit: the change that is 1, in the loss's own units; positive, so that signs stay.
        clean: the loss of the clean photograph with itself.
        gradients: by distortion, the descent direction on the first photograph, ``(3, h, w)``.
        cost: beside L1.
    """

    loss: ImageLoss
    curves: dict[str, list[float]] = field(default_factory=dict)
    equal: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    unit: float = math.nan
    clean: float = math.nan
    gradients: dict[str, Tensor] = field(default_factory=dict)
    cost: Cost | None = None


def measure_loss(loss: ImageLoss, photos: Sequence[Photo]) -> Entry:
    """Look at one loss.

    Args:
        loss: to be looked at.
        photos: one or more.

    Raises:
        LosskitError: the loss of a photograph is NaN or infinite.
    """
    entry = Entry(loss)
    curves = []
    equal = []
    clean = []
    for photo in photos:
        # A copy: a loss that writes into its inputs spoils its own page only.
        reference = photo.clean.clone()
        zero = _value(loss, photo.clean, reference)
        clean.append(zero)
        curves.append(
            {
                name: [
                    _value(loss, image, reference) - zero if step else 0.0
                    for step, image in enumerate(images)
                ]
                for name, images in photo.steps.items()
            }
        )
        equal.append(
            {
                name: _value(loss, image, reference) - zero
                for name, (_, image, _) in photo.equal.items()
            }
        )
    entry.clean = statistics.fmean(clean)
    entry.unit = abs(statistics.fmean(curve[UNIT[0]][UNIT[1]] for curve in curves))
    scale = 1 / entry.unit if entry.unit > 1e-12 else math.nan
    for distortion in DISTORTIONS:
        name = distortion.name
        columns = zip(*(curve[name] for curve in curves), strict=True)
        entry.curves[name] = [scale * statistics.fmean(column) for column in columns]
        entry.equal[name] = scale * statistics.fmean(values[name] for values in equal)
    entry.ranks = ranks_of(entry.equal)
    first = photos[0]
    for name, step in GRADIENTS.items():
        reference = first.clean.clone()
        entry.gradients[name] = descent_direction(loss, first.steps[name][step], reference)
    image = first.steps[UNIT[0]][UNIT[1]]
    entry.cost = cost_of(loss, image, first.clean)
    return entry


def _value(loss: ImageLoss, image: Tensor, clean: Tensor) -> float:
    torch.manual_seed(0)  # losses that draw crops draw the same ones for every image
    with torch.no_grad(), shared_features():
        value = float(loss(image.clone(), clean))
    if not math.isfinite(value):
        raise LosskitError(f"{loss.label} gives {value} on a photograph")
    return value


def descent_direction(loss: ImageLoss, image: Tensor, clean: Tensor) -> Tensor:
    """Minus the gradient by the spoilt image, ``(3, h, w)``: how the loss would change it."""
    torch.manual_seed(0)
    leaf = image.clone().requires_grad_()
    with shared_features():
        value = loss(leaf, clean)
        if not value.requires_grad:
            return torch.zeros_like(image)[0]
        (gradient,) = torch.autograd.grad(value, leaf)
    return -gradient[0]


def ranks_of(values: Mapping[str, float], tolerance: float = 0.05) -> dict[str, int]:
    """1 for the largest; values within 5 % of the one above share its rank; NaN has none."""
    order = sorted(
        (name for name in values if math.isfinite(values[name])), key=lambda name: -values[name]
    )
    ranks: dict[str, int] = {}
    for place, name in enumerate(order, start=1):
        above = order[place - 2] if place > 1 else None
        close = above is not None and values[above] - values[name] <= tolerance * abs(values[above])
        ranks[name] = ranks[above] if close and above is not None else place
    return ranks
