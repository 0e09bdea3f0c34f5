"""Which installed losses look at images, and how to call each with a photograph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError, LosskitError
from losskit.factory import create
from losskit.loss import has_components, input_parameters
from losskit.registry import get_spec, list_losses
from losskit.spec import Example, LossSpec, one_line, resolve_target


@dataclass(slots=True)
class ImageLoss:
    """A loss, ready to be called with a spoilt and a clean photograph.

    Args:
        spec: the loss's.
        label: what to call it: the name, and the options it was asked for with.
        module: made, in evaluation mode.
        pred: the input that takes the spoilt image.
        targets: the inputs that take the clean one.
        rest: the other inputs, from the loss's example.
        span: the values of black and white.
        random: whether the network inside has random weights.
        note: how it was made, where that needs saying.
    """

    spec: LossSpec
    label: str
    module: nn.Module
    pred: str
    targets: tuple[str, ...]
    rest: Mapping[str, Any] = field(default_factory=dict)
    span: tuple[float, float] = (0.0, 1.0)
    random: bool = False
    note: str = ""

    def __call__(self, image: Tensor, clean: Tensor) -> Tensor:
        """The loss of images in [0, 1]; one number."""
        low, high = self.span
        inputs = dict(self.rest)
        inputs[self.pred] = image * (high - low) + low
        for name in self.targets:
            inputs[name] = clean * (high - low) + low
        value = self.module(**inputs)
        if has_components(self.module) and not isinstance(value, Tensor):
            value = torch.stack(list(value.values())).sum()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ConfigError(
                f"{self.label} gives {getattr(value, 'shape', value)!r}, not a number"
            )
        return value.reshape(())


def find_image_losses(
    names: Sequence[Mapping[str, Any]] = (), *, size: int = 128, true_weights: bool = False
) -> Iterator[ImageLoss | tuple[str, str]]:
    """The installed losses that compare an image with another (or judge one), made one by one.

    A loss is made as its example says, which for a loss that looks through a network means random
    weights. With ``true_weights`` the example's ``weights="random"`` is left out first, and comes
    back only where the true ones cannot be had.

    Args:
        names: configs (``type`` and options) to look at instead of all that is installed.
        size: height and width of the photographs, for inputs that the example makes.
        true_weights: try the default weights first; this may download them.

    Yields:
        A loss, or its name and why it was left out, on one line.
    """
    chosen = list(names) or [{"type": spec.qualified_name} for spec in list_losses()]
    for config in chosen:
        asked = bool(names)
        options = {key: value for key, value in config.items() if key != "type"}
        spec = get_spec(config["type"])
        label = spec.name + "".join(f" {k}={v}" for k, v in options.items())
        try:
            found = _prepare(spec, options, label, size, true_weights)
        except Exception as error:  # a loss of anybody's; the page says what it said
            yield label, one_line(error)
            continue
        if found is not None:
            yield found
        elif asked:
            yield label, "has no input that takes an image"


def _prepare(
    spec: LossSpec, options: Mapping[str, Any], label: str, size: int, true_weights: bool
) -> ImageLoss | None:
    example = _example(spec, size)
    images = _image_inputs(example)
    if example is not None and not images and not options:
        return None
    arguments = {**(dict(example.arguments) if example and not options else {}), **options}
    module, random, note = _make(spec, arguments, true_weights)
    parameters = input_parameters(module)
    required = [name for name, p in parameters.items() if p.default is p.empty]
    rest = {k: v for k, v in example.inputs.items() if k not in images} if example else {}
    if images:
        pred = next(name for name in images if example and name in example.grad)
        targets = tuple(name for name in images if name != pred)
    elif "pred" in parameters:
        pred, targets = "pred", ("target",) if "target" in parameters else ()
    else:
        return None
    missing = set(required) - {pred, *targets, *rest}
    if missing:
        if not options:
            return None
        raise ConfigError(f"needs {', '.join(sorted(missing))} besides images")
    span = example.image_range if example else (0.0, 1.0)
    return ImageLoss(spec, label, module.eval(), pred, targets, rest, span, random, note)


def _example(spec: LossSpec, size: int) -> Example | None:
    if spec.example is None:
        return None
    torch.manual_seed(0)
    example = resolve_target(spec.example)(batch=1, height=size, width=size)
    assert isinstance(example, Example)
    return example


def _image_inputs(example: Example | None) -> list[str]:
    """The inputs that are RGB images; none where the loss is given a network or judges features."""
    if example is None or any(isinstance(v, nn.Module) for v in example.inputs.values()):
        return []
    images = [
        name
        for name, value in example.inputs.items()
        if isinstance(value, Tensor) and value.ndim == 4 and value.shape[1] == 3
    ]
    return images if any(name in example.grad for name in images) else []


def _make(
    spec: LossSpec, arguments: Mapping[str, Any], true_weights: bool
) -> tuple[nn.Module, bool, str]:
    """The module; whether its weights are random; and why, if the true ones were wanted."""
    torch.manual_seed(0)
    stand_ins = {key for key, value in arguments.items() if _is_stand_in(value)}
    random = bool(stand_ins)
    note = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if random and true_weights:
            wished = {key: value for key, value in arguments.items() if key not in stand_ins}
            try:
                return create(spec.qualified_name, **wished), False, ""
            except (LosskitError, OSError, ValueError, RuntimeError) as error:
                note = f"true weights cannot be had here: {one_line(error):.160}"
        module = create(spec.qualified_name, **arguments)
    return module, random, note


def _is_stand_in(value: Any) -> bool:
    """Random weights, or a small network given in place of the true one."""
    return isinstance(value, nn.Module) or (isinstance(value, str) and value.startswith("random"))
