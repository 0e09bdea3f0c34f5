"""Gradients of an objective's terms at the image: the dominant term, and weights to change that."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from losskit.errors import ConfigError, nearest
from losskit.objectives.adaptive_weight import AdaptiveWeight
from losskit.objectives.term import Term
from losskit.objectives.term_gradients import Pull, Terms, cosine, norm, pulls_of


@dataclass(frozen=True, slots=True)
class TermBalance:
    r"""Gradient statistics of one term over some batches.

    Args:
        name: the term's ``loss_name``; terms of one name are told apart as ``name[2]``.
        value: mean of the weighted value.
        norm: mean over batches of $\lVert\nabla\rVert_2$, weight included.
        deviation: its standard deviation over batches; ``None`` where fewer than two were measured.
        share: ``norm`` as a part of the sum over terms, 0 to 1.
        alignment: mean cosine between this gradient and that of all terms together; below 0 the
            term is being undone by the others.
        weight: the ``loss_weight`` in force; ``None`` where it is adaptive.
        proposed: the ``loss_weight`` that would give the wished share; ``None`` where no number
            would (no gradient, or an adaptive weight).
        parts: the norm of each component's gradient, of a loss made of parts.
        active: whether the term was computed at all: its schedule, or the loss itself, may leave it
            out at an iteration. If not, the figures are 0 and mean nothing.
    """

    name: str
    value: float
    norm: float
    deviation: float | None
    share: float
    alignment: float
    weight: float | None
    proposed: float | None
    parts: Mapping[str, float]
    active: bool = True


@dataclass(frozen=True, slots=True)
class BalanceReport:
    """The terms of an objective side by side.

    Args:
        terms: one for each optimised term, in the objective's order.
        batches: how many were looked at.
        wanted: the wished shares of the active terms, which add up to 1.
    """

    terms: tuple[TermBalance, ...]
    batches: int
    wanted: Mapping[str, float]


def report(
    objective: Terms,
    batches: Iterable[Mapping[str, Any]],
    wrt: str | Tensor | Iterable[Tensor] = "pred",
    *,
    ratio: Mapping[str, float] | None = None,
) -> BalanceReport:
    r"""Measure each term's gradient, and propose weights for a wished ratio of norms.

    A term's proposed weight is its present one times (wished share) / (share), all scaled so that
    the first term keeps its weight: only ratios matter to Adam, and the first term is the natural
    unit. A term that the schedule leaves out at a batch's ``iteration`` is left out for that batch.

    Args:
        objective: an ``Objective``, with its weights as they are now.
        batches: outputs of the model, one mapping a batch.
        wrt: what to differentiate by: a key of the outputs (the images), a tensor, or several (a
            network's parameters).
        ratio: wished norms by term name, in any unit: ``{"loss_l1": 1, "loss_perceptual": 2}``; a
            term that is not named wishes 1. ``None``: all equal.

    Returns:
        The report.

    Raises:
        ConfigError: ``ratio`` names no term or has a negative value, or there is no batch.
        MissingOutputError: ``wrt`` or a term's input is not among the outputs.

    Example:
        >>> import torch, losskit
        >>> objective = losskit.Objective([{"type": "L1Loss"}, {"type": "MSELoss"}])
        >>> batch = {"pred": torch.full((1, 3, 8, 8), 0.6), "target": torch.full((1, 3, 8, 8), 0.5)}
        >>> [round(t.share, 2) for t in report(objective, [batch]).terms]
        [0.83, 0.17]
    """
    names = _names(objective)
    wishes = _wishes(ratio, names)
    pulls: dict[str, list[Pull]] = {name: [] for name in names}
    cosines: dict[str, list[float]] = {name: [] for name in names}
    count = 0
    for outputs in batches:
        count += 1
        found = pulls_of(objective, names, dict(outputs), wrt)
        if not found:
            continue
        together = torch.stack([pull.gradient for pull in found.values()]).sum(0)
        for name, pull in found.items():
            pulls[name].append(pull)
            cosines[name].append(cosine(pull.gradient, together))
    if count == 0:
        raise ConfigError("balance needs at least one batch of outputs")
    active = {name: wish for name, wish in wishes.items() if pulls[name]}
    wanted = {name: wish / sum(active.values()) for name, wish in active.items()}
    norms = {name: [norm(pull.gradient) for pull in found] for name, found in pulls.items()}
    means = {name: _mean(values) for name, values in norms.items()}
    total = sum(means.values())
    weights = {name: _weight(term) for name, term in names.items()}
    proposals = _propose(means, weights, wanted)
    return BalanceReport(
        tuple(
            TermBalance(
                name=name,
                value=_mean([pull.value for pull in pulls[name]]),
                norm=means[name],
                deviation=statistics.stdev(norms[name]) if len(norms[name]) > 1 else None,
                share=means[name] / total if total > 0 else 0.0,
                alignment=_mean(cosines[name]),
                weight=weights[name],
                proposed=proposals[name],
                parts={
                    part: _mean([pull.parts[part] for pull in pulls[name]])
                    for part in (pulls[name][0].parts if pulls[name] else {})
                },
                active=bool(pulls[name]),
            )
            for name in names
        ),
        count,
        wanted,
    )


def _names(objective: Terms) -> dict[str, Term]:
    names: dict[str, Term] = {}
    for term in objective.terms:
        assert isinstance(term, Term)
        if term.monitor:
            continue
        name, copies = term.name, 1
        while name in names:
            copies += 1
            name = f"{term.name}[{copies}]"
        names[name] = term
    if not names:
        raise ConfigError("every term of the objective is monitored only: there is no gradient")
    return names


def _wishes(ratio: Mapping[str, float] | None, names: Mapping[str, Term]) -> dict[str, float]:
    for name, value in (ratio or {}).items():
        if name not in names:
            raise ConfigError(
                f"ratio names {name!r}, which is no term{nearest(name, names)}; "
                f"there are {', '.join(names)}"
            )
        if not 0 < value < math.inf:
            raise ConfigError(f"the ratio of {name!r} must be positive, not {value!r}")
    return {name: float((ratio or {}).get(name, 1.0)) for name in names}


def _weight(term: Term) -> float | None:
    return None if isinstance(term.loss_weight, AdaptiveWeight) else float(term.loss_weight)


def _propose(
    norms: Mapping[str, float], weights: Mapping[str, float | None], wanted: Mapping[str, float]
) -> dict[str, float | None]:
    factors = {
        name: wanted[name] / norms[name]
        for name, weight in weights.items()
        if weight is not None and norms[name] > 0
    }
    unit = next(iter(factors.values()), 1.0)  # the first term keeps its weight
    proposals: dict[str, float | None] = {}
    for name, weight in weights.items():
        known = weight is not None and name in factors
        proposals[name] = weight * factors[name] / unit if known and weight is not None else None
    return proposals


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0
