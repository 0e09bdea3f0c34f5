"""A loss under test: its example, made afresh and seeded for every look at it."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from losskit.discovery.registry import get_spec, local_target
from losskit.discovery.targets import resolve_target
from losskit.objectives.build import create
from losskit.spec import Example, LossSpec
from losskit.text import one_line

SEED = 20_240_229
_SIZE = 16  # where the factory states no size of its own


class CheckFailed(AssertionError):  # noqa: N818 - what it says is the whole message
    """A check failed; the message says what is wrong and how to mend it."""


class NotApplicable(Exception):  # noqa: N818 - not an error
    """A check says nothing about this loss; the message says why."""


class ExpectedFailure(Exception):  # noqa: N818 - what was to be
    """A check failed as the example says it must; the message is the reason."""


def fail_unless(condition: bool, problem: str, mend: str) -> None:
    """Raise CheckFailed with both halves of its message unless the condition holds."""
    if not condition:
        raise CheckFailed(f"{problem}. To mend it: {mend}.")


def map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """The same nest of lists, tuples and dicts with every leaf replaced."""
    if isinstance(value, Mapping):
        return {key: map_leaves(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_leaves(item, function) for item in value)
    return function(value)


def leaves(value: Any) -> list[Any]:
    """List the leaves of nested lists, tuples and dicts."""
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def float_tensors(value: Any) -> list[Tensor]:
    """The floating-point tensors in a nest."""
    return [leaf for leaf in leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


class LossCase:
    """A loss and its example, for the checks.

    Args:
        spec: the loss, or its name.
        factory: instead of the one ``spec.example`` names.
    """

    def __init__(
        self, spec: LossSpec | str, *, factory: Callable[..., Example] | None = None
    ) -> None:
        self.spec = get_spec(spec) if isinstance(spec, str) else spec
        self._factory = factory

    @property
    def name(self) -> str:
        """The loss's qualified name."""
        return self.spec.qualified_name

    @cached_property
    def target(self) -> Any:
        """The class or function behind the spec."""
        return local_target(self.spec) or resolve_target(self.spec.target)

    @cached_property
    def factory(self) -> Callable[..., Example]:
        """Factory of the loss's examples."""
        if self._factory is not None:
            return self._factory
        fail_unless(
            self.spec.example is not None,
            f"{self.name} has no example",
            "give its LossSpec example='module:factory'; see losskit.Example",
        )
        factory: Callable[[], Example] = resolve_target(str(self.spec.example))
        return factory

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width to test at: the factory's own defaults, at least ``min_size``."""
        parameters = inspect.signature(self.factory).parameters
        smallest = self.min_size
        sizes = [
            parameters[axis].default if axis in parameters else _SIZE
            for axis in ("height", "width")
        ]
        height, width = (max(size if isinstance(size, int) else _SIZE, smallest) for size in sizes)
        return height, width

    @cached_property
    def min_size(self) -> int:
        """The smallest height and width the example says the loss is defined for."""
        torch.manual_seed(SEED)
        return self.factory(batch=1).min_size

    @cached_property
    def expected_failures(self) -> Mapping[str, str]:
        """Check → why it cannot pass, as the example says."""
        try:
            return self.example().expected_failures
        except Exception:  # that there is no example, the check of that name tells
            return {}

    @cached_property
    def has_option_reduction(self) -> bool:
        """Return whether the loss takes ``reduction``."""
        function = self.target.__init__ if inspect.isclass(self.target) else self.target
        return "reduction" in inspect.signature(function).parameters

    def example(self, batch: int = 2, size: tuple[int, int] | None = None) -> Example:
        """A fresh example, the same every time it is asked for."""
        height, width = size or self.size
        torch.manual_seed(SEED)
        return self.factory(batch=batch, height=height, width=width)

    def loss(self, example: Example | None = None, **changes: Any) -> nn.Module:
        """A fresh loss with the example's arguments, seeded."""
        arguments = (example or self.example()).arguments
        torch.manual_seed(SEED)
        return create(self.name, **{**arguments, **changes})

    @cached_property
    def is_random(self) -> bool:
        """Return whether a call draws random numbers: values then compare only under one seed."""
        example = self.example()
        loss = self.loss(example)
        values = []
        for seed in (SEED, SEED + 1):
            torch.manual_seed(seed)
            values.append(copy.deepcopy(loss)(**prepared(example)).detach())
        return not torch.equal(*values)

    @cached_property
    def has_modules(self) -> bool:
        """Return whether networks are among the inputs."""
        return any(isinstance(leaf, nn.Module) for leaf in leaves(dict(self.example().inputs)))


def prepared(
    example: Example, *, dtype: torch.dtype | None = None, grad: bool = True
) -> dict[str, Any]:
    """A copy of an example's inputs: those named in ``grad`` ask for gradients, if any do."""

    def ready(leaf: Any) -> Any:
        if isinstance(leaf, nn.Module):
            leaf = copy.deepcopy(leaf)
            return leaf if dtype is None else leaf.to(dtype)
        if not isinstance(leaf, Tensor):
            return leaf
        leaf = leaf.detach().clone(memory_format=torch.preserve_format)
        return leaf.to(dtype) if dtype is not None and leaf.is_floating_point() else leaf

    inputs = {name: map_leaves(value, ready) for name, value in example.inputs.items()}
    if grad:
        for name in example.grad:
            for tensor in float_tensors(inputs.get(name)):
                tensor.requires_grad_(True)
    return inputs


def call(loss: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
    """The loss's value, seeded, whatever it is."""
    torch.manual_seed(SEED)
    return loss(**inputs)


def differentiable(example: Example, inputs: Mapping[str, Any]) -> dict[str, list[Tensor]]:
    """The tensors to differentiate by, per input: tensors themselves, or a network's parameters."""
    found: dict[str, list[Tensor]] = {}
    for name in example.grad:
        tensors: list[Tensor] = []
        for leaf in leaves(inputs.get(name)):
            if isinstance(leaf, nn.Module):
                tensors += [p for p in leaf.parameters() if p.requires_grad]
            elif isinstance(leaf, Tensor) and leaf.is_floating_point():
                tensors.append(leaf)
        found[name] = tensors
    return found


def backward(value: Tensor, example: Example, inputs: Mapping[str, Any]) -> list[Tensor]:
    """The gradients of the value's sum by everything that should get one; zeros where unused."""
    tensors = [t for group in differentiable(example, inputs).values() for t in group]
    if not tensors:
        return []
    fail_unless(
        value.requires_grad,
        f"the value has no graph, though {', '.join(map(repr, example.grad))} ask for gradients",
        "compute it from them with differentiable operations (no .item(), .data, .detach() or "
        "torch.no_grad()), or leave Example.grad empty",
    )
    gradients = torch.autograd.grad(value.sum(), tensors, allow_unused=True)
    return [
        torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)
    ]


def close(left: Tensor, right: Tensor, *, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Return whether two values agree, whatever their dtypes."""
    return left.shape == right.shape and torch.allclose(
        left.detach().double(), right.detach().double(), rtol=rtol, atol=atol, equal_nan=False
    )


def pairs(example: Example) -> list[tuple[str, str]]:
    """(grad, frozen) inputs that are tensors of one shape: a prediction and its target."""
    inputs = example.inputs
    return [
        (grad, frozen)
        for grad in example.grad
        for frozen in example.frozen
        if isinstance(inputs.get(grad), Tensor)
        and isinstance(inputs.get(frozen), Tensor)
        and inputs[grad].shape == inputs[frozen].shape
    ]


@contextlib.contextmanager
def explained(doing: str, mend: str) -> Iterator[None]:
    """Turn whatever a loss raises into a failed check that says what was being done."""
    try:
        yield
    except (CheckFailed, NotApplicable):
        raise
    except Exception as error:
        raise CheckFailed(
            f"{doing} raised {type(error).__name__}: {one_line(error)[:300]}. To mend it: {mend}."
        ) from error
