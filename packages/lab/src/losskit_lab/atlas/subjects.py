"""Installed losses that take images, and calls of each with a photograph."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from losskit.discovery.registry import get_spec, list_backbones, list_losses
from losskit.discovery.targets import resolve_target
from losskit.errors import ConfigError
from losskit.losses.base import has_components, input_parameters
from losskit.mmagic import constructor_arguments
from losskit.objectives.build import create
from losskit.signatures import is_required, loss_signature
from losskit.spec import Example, LossSpec
from losskit.text import one_line


@dataclass(slots=True)
class ImageLoss:
    """A loss, ready to be called with a spoilt and a clean photograph.

    Args:
        spec: the loss's.
        label: what to call it: the name (with the plugin's, where several have the same), and the
            options it was asked for with.
        module: made, in evaluation mode.
        pred: the input that takes the spoilt image.
        targets: the inputs that take the clean one.
        rest: the other inputs, from the loss's example.
        span: the values of black and white.
        random: whether the network inside has random weights.
        note: how it was made, where that is not as it is by default.
        missing: why the true weights cannot be had here, if they were asked for.
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
    missing: str = ""
    _scaled: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    @property
    def marked(self) -> str:
        """The label, with a star for random weights and a dagger for options that are no defaults."""
        return marked(self.label, random=self.random, note=self.note)

    def __call__(self, image: Tensor, clean: Tensor) -> Tensor:
        """The loss of images in [0, 1]; one number."""
        inputs = dict(self.rest)
        inputs[self.pred] = self._scale(image)
        if self._scaled is None or self._scaled[0] is not clean:
            self._scaled = (clean, self._scale(clean))  # one tensor, so that its features are kept
        for name in self.targets:
            inputs[name] = self._scaled[1]
        value = self.module(**inputs)
        if has_components(self.module) and not isinstance(value, Tensor):
            value = torch.stack(list(value.values())).sum()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ConfigError(
                f"{self.label} gives {getattr(value, 'shape', value)!r}, not a number"
            )
        return value.reshape(())

    def _scale(self, image: Tensor) -> Tensor:
        low, high = self.span
        return image if self.span == (0.0, 1.0) else image * (high - low) + low


#: What a mark behind a loss's name means.
MARKS = {"*": "random weights", "†": "drawn with options other than its defaults"}


def marked(label: str, *, random: bool, note: str) -> str:
    """A loss's label with its marks, as the figures of a loss in other form are not its own."""
    marks = ("*" if random else "") + ("†" if note else "")
    return f"{label} {marks}" if marks else label


#: Why a loss is no subject of the atlas, where nothing went wrong.
NO_IMAGE = "has no input that takes an image to judge"


def find_image_losses(
    names: Sequence[Mapping[str, Any]] = (), *, size: int = 128, true_weights: bool = False
) -> Iterator[ImageLoss | tuple[str, str]]:
    """The installed losses that compare an image with another (or judge one), made one by one.

    A loss is made with its defaults, or, where these do not do (no photograph that small, an input
    missing), as its example says. A network inside is of the default architecture, or the one its
    config names, with random weights; or with its own where a package ships them, where
    ``true_weights`` asks for them and they can be had, or where the config itself says which.

    Args:
        names: configs (``type`` and options) to look at. The type ``"all"`` stands for all that is
            installed, and so does an empty sequence.
        size: height and width of the photographs, for inputs that the example makes.
        true_weights: try the true weights first; this may download them.

    Yields:
        A loss, or its name and why it was left out, on one line.
    """
    installed = list_losses()
    every = [{"type": spec.qualified_name} for spec in installed]
    providers = Counter(spec.name for spec in installed)
    chosen: list[Mapping[str, Any]] = []
    for config in names or [{"type": "all"}]:
        chosen += every if config["type"] == "all" else [config]
    for config in chosen:
        options = {key: value for key, value in config.items() if key != "type"}
        spec = get_spec(config["type"])
        label = spec.name if providers[spec.name] == 1 else spec.qualified_name
        label += "".join(f" {key}={_short(value)}" for key, value in options.items())
        try:
            found = _prepare(spec, options, label, size, true_weights)
        except Exception as error:  # a loss of anybody's; the page says what it said
            yield label, one_line(error)
            continue
        yield (label, NO_IMAGE) if found is None else found


def _short(value: Any) -> str:
    """An option's value for a label."""
    if isinstance(value, Mapping):
        return "{" + (", ".join(map(str, value)) if len(value) < 3 else "…") + "}"
    return str(value)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to make a loss: its arguments, and what the page should say of it."""

    arguments: Mapping[str, Any]
    random: bool = False

    def note(self, options: Mapping[str, Any]) -> str:
        """The arguments that neither the label nor "random weights" tell."""
        shown = [
            f"{key}={type(value).__name__ if isinstance(value, nn.Module) else _short(value)}"
            for key, value in self.arguments.items()
            if key not in options and not (key == "weights" and self.random)
        ]
        return f"made with {', '.join(shown)}" if shown else ""


def _prepare(
    spec: LossSpec, options: Mapping[str, Any], label: str, size: int, true_weights: bool
) -> ImageLoss | None:
    example = _example(spec, size)
    images = _image_inputs(example)
    if example is not None and not images and not options:
        return None
    missing_weights: Exception | None = None
    ways = list(_ways(spec, dict(example.arguments) if example else {}, options, true_weights))
    for way in ways:
        torch.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = create(spec.qualified_name, **way.arguments).eval()
                loss = _place(spec, example, images, label, module, asked=bool(options))
                if loss is None:
                    return None
                with torch.no_grad():  # some find out only when called that their defaults fail
                    loss(*torch.rand(2, 1, 3, size, size))
        except Exception as error:  # of anybody's; the last way's is told
            if way is ways[-1]:
                raise
            missing_weights = missing_weights or (error if not way.random else None)
            continue
        loss.random = way.random
        loss.note = way.note(options)
        if way.random and true_weights and missing_weights is not None:
            loss.missing = one_line(missing_weights)
        return loss
    raise AssertionError("there is always a way to try")


def _ways(
    spec: LossSpec, example: dict[str, Any], options: Mapping[str, Any], true_weights: bool
) -> Iterator[_Way]:
    """Yield ways to make the loss, best first: nearest to what a user gets."""
    parameters = loss_signature(spec)["arguments"]
    needed = {k: v for k, v in example.items() if k in parameters and is_required(parameters[k])}
    stand_ins = {key: value for key, value in example.items() if _is_stand_in(value)}
    named = constructor_arguments(spec.name, options, parameters)  # under this library's names
    replaced = stand_ins.keys() & named.keys()
    if options:
        needed = {**needed, **options}
        example = {**stand_ins, **needed}
        # Weights, or a network of the user's own, that the options name are had as they are.
        chosen = named.keys() & {"weights", "allow_import"}
        if not stand_ins or chosen or (replaced and "weights" not in parameters):
            yield _Way(needed, _is_stand_in(named.get("weights")))
            return
    elif not stand_ins:
        if needed != example:
            yield _Way(needed)
        yield _Way(example)
        return
    elif any(isinstance(value, nn.Module) for value in stand_ins.values()):
        # A small network given in place of the true one: the other arguments may be inputs (texts).
        needed = {key: value for key, value in example.items() if key not in stand_ins}
    if true_weights or _packaged(named, parameters):
        yield _Way(needed)
    if "weights" in parameters:
        yield _Way({**needed, "weights": "random"}, random=True)
    if not replaced:  # else this is the network that the options name, with its true weights
        yield _Way(example, random=True)


def _packaged(named: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> bool:
    """Return whether the loss uses a network whose true weights come in a package."""
    default = parameters["backbone"].default if "backbone" in parameters else ""
    backbone = named.get("backbone", default)
    names = {f"{spec.name}/{name}" for spec in list_backbones() for name in spec.packaged}
    return any(backbone in (name, name.partition("/")[2]) for name in names)


def _place(
    spec: LossSpec,
    example: Example | None,
    images: Sequence[str],
    label: str,
    module: nn.Module,
    *,
    asked: bool,
) -> ImageLoss | None:
    """Say which of a loss's inputs take the photographs; ``None`` where none does."""
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
        if not asked:
            return None
        raise ConfigError(f"needs {', '.join(sorted(missing))} besides images")
    span = example.image_range if example else (0.0, 1.0)
    return ImageLoss(spec, label, module, pred, targets, rest, span)


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


def _is_stand_in(value: Any) -> bool:
    """Random weights, or a small network given in place of the true one."""
    return isinstance(value, nn.Module) or (isinstance(value, str) and value.startswith("random"))
