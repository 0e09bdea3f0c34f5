"""The pull of each term of an objective, taken alone: its gradient as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError, MissingOutputError, nearest
from losskit.objectives.term import Term


@runtime_checkable
class Terms(Protocol):
    """Interface of an ``Objective`` that this module needs."""

    terms: nn.ModuleList

    def look(
        self, outputs: Mapping[str, Any], /
    ) -> AbstractContextManager[list[tuple[Term, dict[str, Tensor]]]]:
        """The values of its active terms, computed without a trace."""


@dataclass(slots=True)
class Pull:
    """Value and gradient of one term on one batch."""

    value: float
    gradient: Tensor
    parts: dict[str, float]


def pulls_of(
    objective: Terms,
    names: Mapping[str, Term],
    outputs: dict[str, Any],
    wrt: str | Tensor | Iterable[Tensor],
) -> dict[str, Pull]:
    """Each active term's value and gradient on one batch, weights included; no state is changed.

    Args:
        objective: whose terms they are.
        names: the terms to look at, by the names to report them under.
        outputs: the model's; ``iteration`` among them drives the schedules, else the objective's count.
        wrt: a key of ``outputs``, a tensor, or several.

    Raises:
        MissingOutputError: a key is not among the outputs.
        ConfigError: a term gives more than one number.
        LosskitError: a gradient is NaN or infinite.
    """
    if isinstance(wrt, str):
        if wrt not in outputs:
            raise MissingOutputError(
                f"wrt={wrt!r} is not among the outputs{nearest(wrt, outputs)}; "
                f"they are {', '.join(map(str, outputs)) or 'empty'}"
            )
        if not outputs[wrt].requires_grad:
            outputs[wrt] = outputs[wrt].detach().clone().requires_grad_()
        tensors = [outputs[wrt]]
    else:
        tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    with torch.enable_grad(), objective.look(outputs) as values:
        parts_of = {id(term): parts for term, parts in values}
        return {
            name: _pull(name, term.name, parts_of[id(term)], tensors)
            for name, term in names.items()
            if id(term) in parts_of
        }


def _pull(name: str, prefix: str, parts: Mapping[str, Tensor], tensors: list[Tensor]) -> Pull:
    for part, value in parts.items():
        if value.ndim:
            raise ConfigError(
                f"{part} has shape {tuple(value.shape)}: leave out reduction='none' to balance it"
            )
    gradients = {part: _gradient(value, tensors) for part, value in parts.items()}
    whole = torch.stack(list(gradients.values())).sum(0)
    total = sum(float(value.detach()) for value in parts.values())
    if not (math.isfinite(total) and torch.isfinite(whole).all()):
        raise LosskitError(f"the value or gradient of {name} is NaN or infinite")
    lengths = {part.removeprefix(f"{prefix}."): norm(g) for part, g in gradients.items()}
    return Pull(total, whole, lengths if len(lengths) > 1 else {})


def _gradient(value: Tensor, tensors: list[Tensor]) -> Tensor:
    """The gradient by all tensors, as one vector; zeros where the value does not depend on them."""
    gradients: tuple[Tensor | None, ...] = (None,) * len(tensors)
    if value.requires_grad:
        gradients = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(t) if g is None else g).detach().float().flatten()
            for g, t in zip(gradients, tensors, strict=True)
        ]
    )


def norm(gradient: Tensor) -> float:
    """The Euclidean length of a gradient."""
    return float(torch.linalg.vector_norm(gradient))


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine between two gradients; 0 where one of them is 0."""
    lengths = norm(one) * norm(other)
    return float(torch.dot(one, other)) / lengths if lengths > 0 else 0.0
