"""The values of an objective's terms at one step, weights and schedules included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from losskit.errors import MissingOutputError, nearest
from losskit.objectives.adaptive_weight import AdaptiveWeight
from losskit.objectives.term import Term

#: What each term's weight is multiplied by at a step; ``None``: the term is not computed.
Factors: TypeAlias = tuple[float | Tensor | None, ...]


def term_values(
    terms: Sequence[Term], outputs: Mapping[str, Any], factors: Factors
) -> list[tuple[Term, dict[str, Tensor]]]:
    """Each active term's weighted parts; adaptive weights are set once all are known.

    Args:
        terms: those of an objective.
        outputs: a model's outputs by name.
        factors: one for each term.

    Returns:
        The terms that count, each with its value by log name, or with one value a component.

    Raises:
        MissingOutputError: a term or an adaptive weight needs a key that is not there.
    """
    values: list[tuple[Term, dict[str, Tensor]]] = []
    for term, factor in zip(terms, factors, strict=True):
        if factor is None:
            continue
        with torch.set_grad_enabled(torch.is_grad_enabled() and not term.monitor):
            parts = _weighted_parts(term, outputs, factor)
        if parts is not None:
            values.append((term, parts))
    return [(term, _balanced(term, parts, values, outputs)) for term, parts in values]


def _balanced(
    term: Term,
    parts: dict[str, Tensor],
    values: list[tuple[Term, dict[str, Tensor]]],
    outputs: Mapping[str, Any],
) -> dict[str, Tensor]:
    adaptive = term.loss_weight
    if not isinstance(adaptive, AdaptiveWeight):
        return parts
    if adaptive.wrt not in outputs:
        raise MissingOutputError(
            f"the adaptive weight of {term.name} needs outputs[{adaptive.wrt!r}]"
            f"{nearest(adaptive.wrt, outputs)}; the outputs are {', '.join(map(str, outputs))}"
        )
    own = _sum(parts.values())
    reference = [_sum(p.values()) for t, p in values if t.name == adaptive.reference]
    weight: Tensor | float = adaptive.scale  # off the reference's interval, or evaluation
    if reference and own.requires_grad:
        weight = adaptive(own, _sum(reference), outputs[adaptive.wrt])
    return {name: value * weight for name, value in parts.items()}


def _weighted_parts(
    term: Term, outputs: Mapping[str, Any], factor: float | Tensor
) -> dict[str, Tensor] | None:
    try:
        # One that does its own routing and weight may say that it does not count now.
        if term.self_routed:
            result: Tensor | None = term.loss(outputs)
            return None if result is None else {term.name: result * _of_type(factor, result)}
        inputs = term.route(outputs)
        return {
            name: term.weigh(value, _of_type(factor, value), inputs)
            for name, value in term.parts(inputs).items()
        }
    except (ValueError, TypeError) as error:  # of an argument: which term's it is, it cannot know
        error.add_note(f"This is of the term {term.name} ({term.type_name}).")
        raise


def _of_type(factor: float | Tensor, value: Tensor) -> float | Tensor:
    """A factor that leaves the value's type as it is: a tensor without dimensions may raise it."""
    return factor.to(value.dtype) if isinstance(factor, Tensor) else factor


def _sum(values: Iterable[Tensor]) -> Tensor:
    parts = iter(values)
    return sum(parts, next(parts))
