"""The pull of each term of an objective, taken alone: its gradient as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from losskit.adaptive import AdaptiveWeight
from losskit.backbones import shared_features
from losskit.errors import ConfigError, LosskitError, MissingOutputError, nearest
from losskit.term import Term


@dataclass(slots=True)
class Pull:
    """What one batch gave for one term."""

    value: float
    gradient: Tensor
    parts: dict[str, float]


def pulls_of(
    names: Mapping[str, Term],
    outputs: dict[str, Any],
    wrt: str | Tensor | Iterable[Tensor],
) -> dict[str, Pull]:
    """Each active term's value and gradient on one batch, weights included.

    Args:
        names: the terms, by the names to report them under.
        outputs: the model's; ``iteration`` among them drives the schedules (0 without it).
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
    iteration = int(outputs.get("iteration", 0))
    found: dict[str, Pull] = {}
    with shared_features(), torch.enable_grad():
        active = {
            name: parts
            for name, term in names.items()
            if (factor := term.schedule.factor(iteration)) != 0.0
            and (parts := _weighted_parts(term, outputs, factor))
        }
        for name, parts in active.items():
            gradients = {part: _gradient(value, tensors) for part, value in parts.items()}
            scale = _adaptive_scale(names, active, name, outputs)
            whole = torch.stack(list(gradients.values())).sum(0) * scale
            lengths = {
                part.removeprefix(f"{names[name].name}."): norm(gradient) * scale
                for part, gradient in gradients.items()
            }
            value = sum(float(part.detach()) for part in parts.values()) * scale
            if not (math.isfinite(value) and torch.isfinite(whole).all()):
                raise LosskitError(f"the value or gradient of {name} is NaN or infinite")
            found[name] = Pull(value, whole, lengths if len(lengths) > 1 else {})
    return found


def _weighted_parts(term: Term, outputs: Mapping[str, Any], factor: float) -> dict[str, Tensor]:
    if term.self_routed:
        value = term(outputs)
        return {} if value is None else {term.name: value}
    inputs = term.route(outputs)
    parts = {k: term.weigh(v, factor, inputs) for k, v in term.parts(inputs).items()}
    for name, value in parts.items():
        if value.ndim:
            raise ConfigError(
                f"{name} has shape {tuple(value.shape)}: leave out reduction='none' to balance it"
            )
    return parts


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


def _adaptive_scale(
    names: Mapping[str, Term],
    active: Mapping[str, Mapping[str, Tensor]],
    name: str,
    outputs: Mapping[str, Any],
) -> float:
    """What an adaptive weight multiplies its term by; 1 for a plain weight, which is in already."""
    weight = names[name].loss_weight
    if not isinstance(weight, AdaptiveWeight):
        return 1.0
    if weight.wrt not in outputs:
        raise MissingOutputError(
            f"the adaptive weight of {name} needs outputs[{weight.wrt!r}]"
            f"{nearest(weight.wrt, outputs)}; the outputs are {', '.join(map(str, outputs))}"
        )
    reference = [
        value
        for other, parts in active.items()
        if names[other].name == weight.reference
        for value in parts.values()
    ]
    if not reference:  # off its interval
        return 1.0
    own = torch.stack(list(active[name].values())).sum()
    return float(weight(own, torch.stack(reference).sum(), outputs[weight.wrt]))


def norm(gradient: Tensor) -> float:
    """The Euclidean length of a gradient."""
    return float(torch.linalg.vector_norm(gradient))


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine between two gradients; 0 where one of them is 0."""
    lengths = norm(one) * norm(other)
    return float(torch.dot(one, other)) / lengths if lengths > 0 else 0.0
