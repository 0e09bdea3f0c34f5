"""Terms in, one total and its logs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from losskit.adaptive import AdaptiveWeight, gradient_norm
from losskit.backbones import shared_features
from losskit.errors import ConfigError, MissingOutputError, nearest
from losskit.nonfinite import NonFiniteGuard
from losskit.term import Term

if TYPE_CHECKING:
    from losskit.balance import BalanceReport


class ObjectiveOutput(NamedTuple):
    """What one step of an objective gives.

    Args:
        total: the scalar to call ``backward()`` on.
        logs: weighted values by name, without gradient, still on their device; components as
            ``loss_perceptual.style``.
    """

    total: Tensor
    logs: dict[str, Tensor]


class Objective(nn.Module):
    """A sum of weighted losses over a model's outputs.

    Args:
        terms: [`Term`][losskit.Term]s, or their configs (dicts with ``type``).
        on_nonfinite: what to do when a term is NaN or infinite: ``"raise"`` an error that names it,
            ``"warn"``, ``"skip"`` (leave it out of this step's total; the logs still show it), or
            ``"ignore"``. On the CPU the check is immediate. On an accelerator ``"raise"`` and
            ``"warn"`` look at a step's values at the beginning of the next one, so that a step never
            waits for the device; ``"skip"`` has to. Inside ``torch.compile`` nothing is checked.

    Raises:
        ConfigError: there is no term, or an adaptive weight refers to no other term.
    """

    def __init__(
        self, terms: Iterable[Term | Mapping[str, Any]], *, on_nonfinite: str = "raise"
    ) -> None:
        super().__init__()
        self._guard = NonFiniteGuard(on_nonfinite)
        if isinstance(terms, (Mapping, Term, str)) or not isinstance(terms, Iterable):
            raise ConfigError(f"an objective takes a list of terms, not one {type(terms).__name__}")
        self.terms = nn.ModuleList([_as_term(term) for term in terms])
        if not self.terms:
            raise ConfigError("an objective needs at least one term")
        self._scheduled = any(not term.schedule.is_constant for term in self._each())
        self._iteration = 0
        self._check_adaptive()

    def _each(self) -> list[Term]:
        return list(self.terms)  # type: ignore[arg-type]

    def _check_adaptive(self) -> None:
        names = [term.name for term in self._each()]
        watched = {term.name for term in self._each() if term.monitor}
        for term in self._each():
            weight = term.loss_weight
            if isinstance(weight, AdaptiveWeight) and weight.reference in watched:
                raise ConfigError(
                    f"the adaptive weight of {term.name} refers to {weight.reference!r}, which is "
                    "only monitored and so has no gradient to compare with"
                )
            if isinstance(weight, AdaptiveWeight) and weight.reference not in set(names) - {
                term.name
            }:
                raise ConfigError(
                    f"the adaptive weight of {term.name} refers to {weight.reference!r}, which is "
                    f"no other term{nearest(weight.reference, names)}; there are {', '.join(names)}"
                )

    def forward(self, outputs: Mapping[str, Any] | None = None, **more: Any) -> ObjectiveOutput:
        """Compute the terms that count at this iteration.

        Args:
            outputs: a model's outputs by name; ``iteration``, where given, drives the schedules,
                else the objective counts its own training steps.
            more: further outputs, for short calls: ``objective(pred=x, target=y)``.

        Returns:
            The total and the logs.

        Raises:
            MissingOutputError: a term needs a key that is not there.
            NonFiniteError: a value is NaN or infinite and ``on_nonfinite="raise"``.
        """
        if not isinstance(outputs, (Mapping, type(None))):
            raise TypeError(
                "an objective takes a mapping of outputs, or outputs by keyword "
                f"(pred=..., target=...), not {type(outputs).__name__}"
            )
        outputs = {**(outputs or {}), **more}
        self._guard.check()
        iteration = self._next_iteration(outputs)
        with shared_features(self):
            values = self._values(outputs, iteration)
        return self._finish(values, outputs)

    def _next_iteration(self, outputs: Mapping[str, Any]) -> int:
        if not self._scheduled:
            return 0
        if "iteration" in outputs:
            return int(outputs["iteration"])
        iteration = self._iteration
        if self.training:
            self._iteration += 1
        return iteration

    def _last_iteration(self, outputs: Mapping[str, Any]) -> int:
        """The iteration of the step these outputs are of: the last one, where one was made."""
        if "iteration" in outputs:
            return int(outputs["iteration"])
        return max(0, self._iteration - 1)

    def _values(
        self, outputs: Mapping[str, Any], iteration: int
    ) -> list[tuple[Term, dict[str, Tensor]]]:
        """Each active term's weighted parts; adaptive weights are set once all are known."""
        values: list[tuple[Term, dict[str, Tensor]]] = []
        for term in self._each():
            constant = term.schedule.is_constant
            factor = 1.0 if constant else term.schedule.factor(iteration)
            if factor == 0.0:
                continue
            with torch.set_grad_enabled(torch.is_grad_enabled() and not term.monitor):
                parts = _weighted_parts(term, outputs, factor)
            if parts is not None:
                values.append((term, parts))
        return [(term, self._balanced(term, parts, values, outputs)) for term, parts in values]

    def _balanced(
        self,
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

    def _finish(
        self, values: list[tuple[Term, dict[str, Tensor]]], outputs: Mapping[str, Any]
    ) -> ObjectiveOutput:
        skipped = self._guard.look(
            [(i, n, value) for i, (_, parts) in enumerate(values) for n, value in parts.items()]
        )
        logs: dict[str, Tensor] = {}
        total: Tensor | None = None
        for index, (term, parts) in enumerate(values):
            for name, value in parts.items():
                if value.ndim:
                    raise ConfigError(
                        f"{name} ({term.type_name}) has shape {tuple(value.shape)}: in an objective "
                        "a loss must be one number, so leave out reduction='none'"
                    )
                if not term.monitor and index not in skipped:
                    total = value if total is None else total + value
                detached = value.detach()
                logs[name] = logs[name] + detached if name in logs else detached
        if total is None:  # nothing to optimise at this iteration: a zero that backward() accepts
            total = torch.zeros((), device=_device_of(outputs), requires_grad=True)
        return ObjectiveOutput(total, logs)

    @property
    def on_nonfinite(self) -> str:
        """What is done about a term that is NaN or infinite."""
        return self._guard.policy

    def check(self) -> None:
        """Report what the last step left to report; on an accelerator, call it before a checkpoint.

        Raises:
            NonFiniteError: a term of the last step was NaN or infinite and
                ``on_nonfinite="raise"``.
        """
        self._guard.check()

    def gradient_norms(
        self, outputs: Mapping[str, Any], *, wrt: Tensor | str | Iterable[Tensor]
    ) -> dict[str, Tensor]:
        """The norm of each optimised term's own gradient: which term dominates.

        Args:
            outputs: as for the call; its tensors must be in a graph.
            wrt: the tensors to differentiate by: a key of the outputs (``"pred"``), a tensor, or
                several (a network's parameters).

        Returns:
            The L2 norm by name, weights included; 0 for a term that does not depend on ``wrt``.
            Terms of one name add up first, as they do in the total. A term that this iteration's
            schedule leaves out is not there.

        Raises:
            MissingOutputError: ``wrt`` names no output.
            ValueError: a tensor of ``wrt`` takes no gradient.
        """
        if isinstance(wrt, str):
            if wrt not in outputs:
                raise MissingOutputError(
                    f"wrt={wrt!r} is not among the outputs{nearest(wrt, outputs)}"
                )
            wrt = outputs[wrt]
        tensors = [wrt] if isinstance(wrt, Tensor) else list(wrt)
        if not tensors or not all(tensor.requires_grad for tensor in tensors):
            raise ValueError("wrt must be tensors with requires_grad=True, in the outputs' graph")
        # A look must not move the averages that some losses keep.
        kept = [(buffer, buffer.clone()) for buffer in self.buffers()]
        with shared_features(self):
            values = self._values(outputs, self._last_iteration(outputs))
        sums: dict[str, Tensor] = {}
        for term, parts in values:
            for name, value in parts.items():
                if not term.monitor:
                    sums[name] = sums[name] + value if name in sums else value
        norms = {name: gradient_norm(value, tensors) for name, value in sums.items()}
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
        return norms

    def report(
        self,
        batches: Iterable[Mapping[str, Any]],
        wrt: str | Tensor | Iterable[Tensor] = "pred",
        *,
        ratio: Mapping[str, float] | None = None,
    ) -> BalanceReport:
        """Which term dominates over some batches, and weights for a wished ratio.

        As [`losskit.balance.report`][losskit.balance.report], which says what each argument means.
        """
        from losskit.balance import report  # it needs objectives, so it cannot come first

        return report(self, batches, wrt, ratio=ratio)

    def get_extra_state(self) -> dict[str, int]:
        """The step count that drives schedules, for checkpoints."""
        return {"iteration": self._iteration}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Restore what ``get_extra_state`` gave."""
        self._iteration = int(state["iteration"])


def _as_term(term: Term | Mapping[str, Any]) -> Term:
    if isinstance(term, Term):
        return term
    from losskit.factory import build  # the factory makes terms, so terms cannot import it first

    return build(term)


def _weighted_parts(
    term: Term, outputs: Mapping[str, Any], factor: float
) -> dict[str, Tensor] | None:
    if term.self_routed:  # does its own routing and weight, and may say that it does not count now
        result: Tensor | None = term.loss(outputs)
        return None if result is None else {term.name: result * factor}
    inputs = term.route(outputs)
    parts = term.parts(inputs)
    return {name: term.weigh(value, factor, inputs) for name, value in parts.items()}


def _sum(values: Iterable[Tensor]) -> Tensor:
    parts = iter(values)
    return sum(parts, next(parts))


def _device_of(outputs: Mapping[str, Any]) -> torch.device | None:
    return next((v.device for v in outputs.values() if isinstance(v, Tensor)), None)
