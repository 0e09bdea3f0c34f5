"""The base class of losses: it helps, but any ``nn.Module`` may be registered."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from losskit.errors import ConfigError

_L = TypeVar("_L", bound="Loss")


class Loss(nn.Module):
    """A loss: pure mathematics from named tensors (or modules) to one tensor.

    Subclasses write ``forward``. It knows no weight, schedule, mixed precision, distributed code
    or logging: those are the `Term`'s, the `Objective`'s and the trainer's.

    A loss made of parts writes ``components`` instead, and ``forward`` is their sum.
    """

    #: The name a term logs it under unless the config says otherwise; ``None``: from the class name.
    loss_name: ClassVar[str | None] = None

    #: The options it was made with, for ``repr``: as text, for networks among them are not to be kept.
    _options_shown: str = ""

    def __new__(cls: type[_L], *args: Any, **kwargs: Any) -> _L:  # beartype takes no Self here
        """Note the options that differ from their defaults; subclasses write ``__init__`` as usual."""
        loss = super().__new__(cls)
        if args or kwargs:
            object.__setattr__(loss, "_options_shown", _changed_options(cls, args, kwargs))
        return loss

    def extra_repr(self) -> str:
        """The options that differ from their defaults."""
        return self._options_shown

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep a tensor; one made in inference mode becomes a plain one, so that the loss can train."""
        if tensor is not None and tensor.is_inference():
            with torch.inference_mode(False):
                tensor = tensor.clone()
        super().register_buffer(name, tensor, persistent)

    def components(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The named parts of the loss, each a tensor; only losses made of parts have them."""
        raise NotImplementedError(f"{type(self).__name__} has no components")

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss; the sum of the components where a subclass has not written it."""
        parts = iter(self.components(*args, **kwargs).values())
        return sum(parts, next(parts))

    def weigh(self, value: Tensor, weight: float | Tensor, /, **inputs: Any) -> Tensor:
        """Apply a term's ``loss_weight``; ``inputs`` are those of the call, by name.

        The one place where a loss may say that its weight does not always count (``GANLoss``: not
        for the discriminator). The first two are positional only: an input may be called ``weight``.
        """
        return value * weight


def _changed_options(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        given = signature.bind(None, *args, **kwargs).arguments
    except TypeError:  # __init__ will say what is wrong
        return ""
    shown = []
    for name, value in list(given.items())[1:]:
        text = repr(value) if isinstance(value, _PLAIN) else type(value).__name__
        # As texts: a tuple may hold tensors, which do not compare to one truth.
        if text == repr(signature.parameters[name].default):
            continue
        shown.append(f"{name}={text[:60]}{'...' * (len(text) > 60)}")
    return ", ".join(shown)


#: What is shown as it is; of anything else the type.
_PLAIN = (bool, int, float, str, tuple, list, dict, type(None))


def without_gradient(value: Any) -> Any:
    """A target, cut from its graph whatever the caller forgot; what is no tensor is left alone.

    Functions stay symmetric in their arguments; the modules made of them train ``pred`` only.
    """
    return value.detach() if isinstance(value, Tensor) else value


class FunctionLoss(Loss):
    """A plain function as a module; its options are bound when it is made.

    Args:
        function: takes tensors, returns one tensor.
        options: keyword arguments of the function, kept for every call.

    Raises:
        TypeError: the function has no such option.
    """

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__()
        signature = inspect.signature(function)
        unknown = [name for name in options if name not in signature.parameters]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        if unknown and not takes_any:
            raise TypeError(
                f"{_name_of(function)}() has no argument {unknown[0]!r}; "
                f"it takes {', '.join(signature.parameters)}"
            )
        self.function = function
        self.options = options

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Call the function with the bound options."""
        return self.function(*args, **{**self.options, **kwargs})

    def extra_repr(self) -> str:
        """Show the function and its options."""
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"{_name_of(self.function)}{options}"


def as_module(loss: nn.Module | Callable[..., Tensor]) -> nn.Module:
    """A loss as a module: a function is wrapped.

    Raises:
        ConfigError: it is neither, or a class where an instance is meant.
    """
    if isinstance(loss, nn.Module):
        return loss
    if inspect.isclass(loss):
        raise ConfigError(f"{loss.__name__} is a class: give an instance, {loss.__name__}(...)")
    if not callable(loss):
        raise ConfigError(f"a loss must be a module or a function, not {loss!r:.80}")
    try:
        inspect.signature(loss)
    except ValueError as error:
        raise ConfigError(
            f"{_name_of(loss)} does not tell its arguments: wrap it in a function of named tensors"
        ) from error
    return FunctionLoss(loss)


def output_key(loss: nn.Module, argument: str) -> str:
    """The key of the outputs that an argument without a route is taken from.

    It is the argument's own name, but PyTorch's losses call the prediction ``input``, which among a
    model's outputs is something else.
    """
    code = _unwrapped(loss.function) if isinstance(loss, FunctionLoss) else type(loss)
    torchs_own = getattr(code, "__module__", "") in ("torch.nn.modules.loss", "torch.nn.functional")
    return "pred" if torchs_own and argument == "input" else argument


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    plain = _unwrapped(function)
    return str(getattr(plain, "__name__", type(plain).__name__)).strip("<>")


def has_components(loss: nn.Module) -> bool:
    """Whether the loss is made of named parts."""
    method = getattr(type(loss), "components", None)
    return method is not None and method is not Loss.components


@functools.lru_cache(maxsize=512)
def _parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    return parameters


def input_parameters(loss: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The arguments of a loss's call: those of ``forward``, or of ``components``, or the function."""
    if isinstance(loss, FunctionLoss):
        free = _parameters_of(loss.function)
        return {name: p for name, p in free.items() if name not in loss.options}
    cls = type(loss)
    if cls.forward is Loss.forward:
        return _parameters_of(cls.components)  # type: ignore[attr-defined]
    return _parameters_of(cls.forward)


def default_loss_name(loss: nn.Module) -> str:
    """What a loss is logged under: its own ``loss_name``, or ``DiscShiftLoss`` → ``loss_disc_shift``."""
    own = getattr(loss, "loss_name", None)
    if callable(own):  # the convention of the MMagic guide: a static method
        own = own()
    if own:
        return str(own)
    name = _name_of(loss.function) if isinstance(loss, FunctionLoss) else type(loss).__name__
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+", name)
    kept = [word.lower() for word in words if word.lower() not in ("loss", "")]
    return "_".join(["loss", *kept])
