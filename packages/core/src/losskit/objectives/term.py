"""A loss placed in an objective: weight, routing, schedule, name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from losskit import mmagic
from losskit.errors import ConfigError, MissingOutputError, nearest
from losskit.losses.base import (
    Loss,
    as_module,
    default_loss_name,
    has_components,
    input_parameters,
    output_key,
)
from losskit.losses.data_range import RangeCheck
from losskit.objectives.adaptive_weight import AdaptiveWeight
from losskit.objectives.schedule import Schedule

#: The keys of a config that are the term's; all others go to the loss.
ROUTING_KEYS = (
    "loss_weight",
    "data_info",
    "loss_name",
    "interval",
    "scale_by_interval",
    "start",
    "stop",
    "ramp",
    "monitor",
)


class Term(nn.Module):
    """A loss with its weight, its inputs, its name and its schedule.

    Call it with tensors (``term(pred, target)``) or with one mapping of a model's outputs
    (``term(outputs)``, or ``term(outputs_dict=outputs)``), which ``data_info`` routes.

    Args:
        loss: any module or function that returns one tensor. The ``input`` of PyTorch's own losses is
            taken from the outputs as ``pred``.
        loss_weight: a number, or an `AdaptiveWeight`.
        data_info: argument of the loss → key of the outputs. A value that is not a string is passed
            as it is (``target_is_real: true``). Required arguments that ``data_info`` leaves out are
            taken from the outputs by their own names.
        loss_name: what logs call it. A name without ``loss`` in it is monitored only.
        schedule: when the term counts.
        monitor: ``True``: compute and log, but do not optimise; ``None``: as ``loss_name`` says.
        type_name: the loss's registered name, for messages.
        self_routed: the loss does its own ``data_info`` and weight, as the MMagic guide's classes do.

    Raises:
        ConfigError: ``data_info`` names an argument that the loss's call does not have, or ``loss`` is
            no module or function.
    """

    loss: nn.Module

    def __init__(
        self,
        loss: nn.Module | Callable[..., Tensor],
        *,
        loss_weight: float | AdaptiveWeight = 1.0,
        data_info: Mapping[str, Any] | None = None,
        loss_name: str | None = None,
        schedule: Schedule | None = None,
        monitor: bool | None = None,
        type_name: str = "",
        self_routed: bool = False,
    ) -> None:
        super().__init__()
        loss = as_module(loss)
        self.loss = loss
        self.loss_weight = loss_weight
        self.type_name = type_name or type(loss).__name__
        self.name = loss_name or default_loss_name(loss)
        for module in loss.modules():
            for check in vars(module).values():
                if isinstance(check, RangeCheck):
                    check.term = self.name  # of several of a kind, the warning says which
        self.schedule = schedule or Schedule()
        self.monitor = "loss" not in self.name if monitor is None else monitor
        self.self_routed = self_routed
        parameters = {} if self_routed else input_parameters(loss)
        named = [
            n for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        open_ended = len(named) < len(parameters)
        self._by_key = {output_key(loss, own): own for own in named}
        self.data_info = None
        if data_info is not None and not self_routed:
            self.data_info = self._checked_routes(data_info, named, open_ended)
        required = [n for n in named if parameters[n].default is parameters[n].empty]
        self._routes: tuple[tuple[str, Any], ...] = tuple(
            {**{n: output_key(loss, n) for n in required}, **(self.data_info or {})}.items()
        )
        self._named = tuple(named)
        self._positional = tuple(
            n for n in named if parameters[n].kind is not parameters[n].KEYWORD_ONLY
        )
        self._open_ended = open_ended

    def _checked_routes(
        self,
        data_info: Mapping[str, Any],
        named: Sequence[str],
        open_ended: bool,
    ) -> dict[str, Any]:
        if not isinstance(data_info, Mapping):
            raise ConfigError(
                f"data_info of {self.type_name} must map its arguments to output keys, "
                f"not {data_info!r}"
            )
        routes = {self._argument(key, named): value for key, value in data_info.items()}
        for name in routes:
            if name not in named and not open_ended:
                raise ConfigError(
                    f"data_info of {self.type_name} names {name!r}, which is not an argument of "
                    f"its call{nearest(name, named)}; it takes {', '.join(named) or 'none'}"
                )
        return routes

    def _argument(self, name: str, named: Sequence[str]) -> str:
        """The loss's own name of an argument: aliases resolved."""
        return self._by_key.get(name) or mmagic.input_name(self.type_name, name, named)

    def route(self, outputs: Mapping[str, Any], **given: Any) -> dict[str, Any]:
        """The loss's arguments, taken from a model's outputs; ``given`` ones come first.

        Raises:
            MissingOutputError: a key is not among the outputs.
            ConfigError: the loss takes any arguments, and ``data_info`` does not say which.
        """
        if self._open_ended and not (self._routes or given):
            raise ConfigError(
                f"{self.name} ({self.type_name}) takes any arguments: say with data_info which "
                "outputs it is given"
            )
        inputs = dict(given)
        for argument, key in self._routes:
            if argument in inputs:
                continue
            if not isinstance(key, str):
                inputs[argument] = key
            elif key in outputs:
                inputs[argument] = outputs[key]
            else:
                raise MissingOutputError(
                    f"{self.name} ({self.type_name}) needs outputs[{key!r}] for its argument "
                    f"{argument!r}{nearest(key, outputs)}; the outputs are "
                    f"{', '.join(map(str, outputs)) or 'empty'}"
                )
        return inputs

    def parts(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The unweighted value, under the term's name, or one per component."""
        if has_components(self.loss):
            loss: Any = self.loss
            components: dict[str, Tensor] = loss.components(**inputs)
            if len(components) != 1:
                return {f"{self.name}.{key}": value for key, value in components.items()}
            return {self.name: next(iter(components.values()))}
        return {self.name: self.loss(**inputs)}

    def weigh(self, value: Tensor, factor: float | Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """The value times ``loss_weight`` times the schedule's factor, as the loss lets it count."""
        weight = 1.0 if isinstance(self.loss_weight, AdaptiveWeight) else self.loss_weight
        if isinstance(self.loss, Loss):
            return self.loss.weigh(value, weight * factor, **inputs)
        return value * (weight * factor)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | None:
        """The weighted loss; ``None`` where the schedule leaves this iteration out.

        The schedule acts when the call brings outputs with an ``iteration``.

        Raises:
            MissingOutputError: a routed key is missing.
            TypeError: a mapping is given together with other positional arguments.
        """
        outputs = kwargs.pop("outputs_dict", None)
        if outputs is None and args and isinstance(args[0], Mapping):
            if len(args) > 1:
                raise TypeError("give either one mapping of outputs or tensors, not both")
            outputs, args = args[0], ()
        if outputs is not None and args:
            raise TypeError("outputs_dict allows no other positional argument")
        factor = 1.0
        if outputs is not None and not self.schedule.is_constant and "iteration" in outputs:
            factor = self.schedule.factor(int(outputs["iteration"]))
            if factor == 0.0:
                return None
        if self.self_routed:
            result: Tensor | None = self.loss(*(args if outputs is None else (outputs,)), **kwargs)
            return result if result is None or factor == 1.0 else result * factor
        if outputs is not None:
            inputs = self.route(outputs, **kwargs)
        else:
            inputs = {**dict(zip(self._positional, args, strict=False)), **kwargs}
            if len(args) > len(self._positional):  # *args losses, or too many: the loss will say
                return self.weigh(self.loss(*args, **kwargs), self._check_plain(), {})
            inputs = {self._argument(k, self._named): v for k, v in inputs.items()}
        return self.weigh(self.loss(**inputs), factor * self._check_plain(), inputs)

    def _check_plain(self) -> float:
        if isinstance(self.loss_weight, AdaptiveWeight):
            raise ConfigError(
                f"{self.name} has an adaptive loss_weight, which needs its reference: "
                "put the term in an Objective"
            )
        return 1.0

    def extra_repr(self) -> str:
        """Name, weight and routes."""
        routes = "" if self.data_info is None else f", data_info={self.data_info}"
        monitor = ", monitor=True" if self.monitor else ""
        return f"{self.name}, loss_weight={self.loss_weight}{routes}{monitor}"
