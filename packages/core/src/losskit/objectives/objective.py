"""Terms in, one total and its logs out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from losskit.backbones import shared_features
from losskit.errors import ConfigError, MissingOutputError, nearest
from losskit.objectives.adaptive_weight import AdaptiveWeight, gradient_norm
from losskit.objectives.balance import BalanceReport, report
from losskit.objectives.evaluate import Factors, term_values
from losskit.objectives.graph_breaks import leaves_graph, must_be_one_graph
from losskit.objectives.nonfinite import NonFiniteGuard
from losskit.objectives.step_count import CompiledStepCount
from losskit.objectives.term import Term


class ObjectiveOutput(NamedTuple):
    """Result of one step of an objective.

    Args:
        total: the scalar to call ``backward()`` on.
        logs: weighted values by name, without gradient, still on their device; components as
            ``loss_perceptual.style``.
    """

    total: Tensor
    logs: dict[str, Tensor]


@leaves_graph("_factors_outside_the_graph", "_step")
class Objective(CompiledStepCount):
    """A sum of weighted losses over a model's outputs.

    In training it counts its calls (``iteration``), which ``state_dict()`` holds as a tensor. Compiled,
    it makes one graph for each set of terms that count together. ``fullgraph=True`` needs
    ``iteration`` among the outputs if a term has a schedule.

    Args:
        terms: each a `Term`, its config (a dict with ``type``), or a plain loss: a module or a function
            that returns one tensor.
        on_nonfinite: what to do when a term is NaN or infinite: ``"raise"`` an error that names it,
            ``"warn"``, ``"skip"`` (leave it out of this step's total; the logs still show it), or
            ``"ignore"``. On the CPU the check is immediate. On an accelerator ``"raise"`` and
            ``"warn"`` look at a step's values at the beginning of the next one, so that a step never
            waits for the device; ``"skip"`` has to. Inside ``torch.compile`` nothing is checked.

    Raises:
        ConfigError: there is no term, or an adaptive weight refers to no other term.
    """

    def __init__(
        self,
        terms: Iterable[Term | Mapping[str, Any] | Callable[..., Tensor]],
        *,
        on_nonfinite: str = "raise",
    ) -> None:
        super().__init__()
        self._guard = NonFiniteGuard(on_nonfinite)
        if isinstance(terms, (Mapping, Term, str)) or not isinstance(terms, Iterable):
            raise ConfigError(f"an objective takes a list of terms, not one {type(terms).__name__}")
        from losskit.objectives.build import build  # which makes terms, so it cannot come first

        self.terms = nn.ModuleList([build(term) for term in terms])
        if not self.terms:
            raise ConfigError("an objective needs at least one term")
        self._scheduled = any(not term.schedule.is_constant for term in self.term_list())
        self._adaptive = any(isinstance(t.loss_weight, AdaptiveWeight) for t in self.term_list())
        self._check_adaptive()

    def term_list(self) -> list[Term]:
        """The terms, in the order of ``terms``, for code whose types are checked."""
        return list(self.terms)  # type: ignore[arg-type] # a ModuleList knows no type

    def _check_adaptive(self) -> None:
        names = [term.name for term in self.term_list()]
        watched = {term.name for term in self.term_list() if term.monitor}
        for term in self.term_list():
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
            outputs: a model's outputs by name; ``iteration``, where given, drives the schedules and
                sets the objective's own count, which drives them otherwise.
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
        if self._adaptive and torch.compiler.is_compiling() and not must_be_one_graph():
            return self._step(outputs)
        return self._step_in_the_graph(outputs)

    def _step(self, outputs: Mapping[str, Any]) -> ObjectiveOutput:
        """A step that compiled code leaves its graph for.

        Adaptive weights differentiate in the middle of a step, which the compiler would otherwise
        try again, in vain, at each step.
        """
        return self._step_in_the_graph(outputs)

    def _step_in_the_graph(self, outputs: Mapping[str, Any]) -> ObjectiveOutput:
        self._guard.check()
        factors = self._next_factors(outputs)
        with shared_features(self):
            values = term_values(self.term_list(), outputs, factors)
        return self._finish(values, outputs)

    def _next_factors(self, outputs: Mapping[str, Any]) -> Factors:
        if not torch.compiler.is_compiling():
            return self._factors_at(self._next_iteration(outputs))
        if not self._scheduled:
            self.count_in_graph()
            return (1.0,) * len(self.terms)
        if not must_be_one_graph():
            return self._factors_outside_the_graph(outputs)
        if "iteration" not in outputs:
            raise ConfigError(
                "an objective with a schedule cannot count its steps under fullgraph=True: "
                "give it outputs['iteration'], or leave out fullgraph"
            )
        self.count_in_graph()
        return self._factors_at(int(outputs["iteration"]))

    def _factors_outside_the_graph(self, outputs: Mapping[str, Any]) -> Factors:
        """Compute what the compiled code branches on: which terms count, never the iteration itself.

        A ramp's factor is a tensor, since each new number would be compiled anew.
        """
        factors = self._factors_at(self._next_iteration(outputs))
        return tuple(
            torch.tensor(factor, dtype=torch.float64) if factor and term.schedule.ramp else factor
            for term, factor in zip(self.term_list(), factors, strict=True)
        )

    def _factors_at(self, iteration: int) -> Factors:
        """The factor of each term's weight; ``None`` for a term that is not computed."""
        if not self._scheduled:
            return (1.0,) * len(self.terms)
        return tuple(term.schedule.factor(iteration) or None for term in self.term_list())

    def _next_iteration(self, outputs: Mapping[str, Any]) -> int:
        self.take_compiled_steps()
        given = outputs.get("iteration")
        # Without a schedule nothing needs the number: a tensor on a device is not waited for.
        known = given is not None and (self._scheduled or isinstance(given, int))
        iteration = int(given) if given is not None and known else self._steps
        if self.training:
            self._steps = iteration + 1
        return iteration

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
        """Policy for a term that is NaN or infinite."""
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
        with self.look(outputs) as values:
            sums: dict[str, Tensor] = {}
            for term, parts in values:
                for name, value in parts.items():
                    if not term.monitor:
                        sums[name] = sums[name] + value if name in sums else value
            return {name: gradient_norm(value, tensors) for name, value in sums.items()}

    @contextmanager
    def look(self, outputs: Mapping[str, Any]) -> Iterator[list[tuple[Term, dict[str, Tensor]]]]:
        """Compute the terms of the step these outputs are of, and leave no trace.

        What losses keep from step to step (averages, pools, counts) is put back at the end, so that
        values can be differentiated inside the block.

        Args:
            outputs: as for the call; without ``iteration`` they are those of the last step made.

        Yields:
            The terms that count, each with its weighted value by log name, or one value a component.

        Raises:
            MissingOutputError: a term needs a key that is not there.
        """
        iteration = int(outputs.get("iteration", max(0, self.iteration - 1)))
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        extras = [(m, m.get_extra_state()) for m in self.modules() if _has_extra_state(m)]
        try:
            with shared_features(self):
                yield term_values(self.term_list(), outputs, self._factors_at(iteration))
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            for module, state in extras:
                module.set_extra_state(state)

    def report(
        self,
        batches: Iterable[Mapping[str, Any]],
        wrt: str | Tensor | Iterable[Tensor] = "pred",
        *,
        ratio: Mapping[str, float] | None = None,
    ) -> BalanceReport:
        """Report which term dominates over some batches, and weights for a desired ratio.

        As `losskit.objectives.balance.report`, which says what each argument means.
        """
        return report(self, batches, wrt, ratio=ratio)


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _device_of(outputs: Mapping[str, Any]) -> torch.device | None:
    return next((v.device for v in outputs.values() if isinstance(v, Tensor)), None)
