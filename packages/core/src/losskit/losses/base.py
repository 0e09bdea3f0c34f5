"""The base class of losses: it helps, but any ``nn.Module`` may be registered."""

from __future__ import annotations

import functools
import inspect
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from numbers import Number
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
        if (args or kwargs) and not torch.compiler.is_compiling():  # Dynamo cannot trace this
            inits = [
                vars(base)["__init__"].__get__(loss)
                for base in cls.__mro__
                if "__init__" in vars(base)
            ]
            shown = ", ".join(_changed_options(inits, args, kwargs))
            object.__setattr__(loss, "_options_shown", shown)
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


class _Values(reprlib.Repr):
    """Values of options on one line: tensors as shapes; networks, functions and the like as names."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 16
        self.maxstring = 80

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, Enum):
            return f"{type(x).__name__}.{x.name}"
        if isinstance(x, (Number, torch.dtype, torch.device, type(None))):
            return repr(x)
        if isinstance(x, (str, os.PathLike)):
            return self.repr_str(str(x), level)
        if isinstance(x, Mapping):
            return self.repr_dict(dict(x), level)
        return f"{_name_of(x)}{tuple(x.shape) if isinstance(x, Tensor) else ''}"


_VALUES = _Values()


def _changed_options(
    functions: Sequence[Callable[..., Any]], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[str]:
    """The arguments that differ from the first function's defaults; its ``**kwargs`` go to the next."""
    try:
        signature = inspect.signature(functions[0])
        given = signature.bind_partial(*args, **kwargs).arguments
    except (IndexError, TypeError, ValueError):  # nobody takes them: the call will say so
        return [*map(_VALUES.repr, args), *(f"{k}={_VALUES.repr(v)}" for k, v in kwargs.items())]
    shown: list[str] = []
    more_args: Sequence[Any] = ()
    more_kwargs: Mapping[str, Any] = {}
    for name, value in given.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            more_args = value
        elif parameter.kind is parameter.VAR_KEYWORD:
            more_kwargs = value
        elif not _same(value, parameter.default):
            shown.append(f"{name}={_VALUES.repr(value)}")
    if more_args or more_kwargs:
        shown += _changed_options(functions[1:], more_args, more_kwargs)
    return shown


def _same(value: Any, default: Any) -> bool:
    # A list in a config stands for a tuple.
    one, other = (tuple(x) if isinstance(x, list) else x for x in (value, default))
    try:
        return one is other or bool(one == other)
    except Exception:  # arrays have no single truth value
        return False


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
        """The function, and the options that differ from its defaults."""
        return ", ".join(
            [_name_of(self.function), *_changed_options([self.function], (), self.options)]
        )


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


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Any) -> str:
    plain = _unwrapped(function)
    return str(getattr(plain, "__name__", type(plain).__name__)).strip("<>")


def has_components(loss: nn.Module) -> bool:
    """Return whether the loss is made of named parts."""
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
        return _parameters_of(cls.components)  # type: ignore[attr-defined] # asked above
    return _parameters_of(cls.forward)


def default_loss_name(loss: nn.Module) -> str:
    """Return a loss's name in logs: its ``loss_name``, or ``DiscShiftLoss`` → ``loss_disc_shift``."""
    own = getattr(loss, "loss_name", None)
    if callable(own):  # the convention of the MMagic guide: a static method
        own = own()
    if own:
        return str(own)
    name = _name_of(loss.function) if isinstance(loss, FunctionLoss) else type(loss).__name__
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+", name)
    kept = [word.lower() for word in words if word.lower() not in ("loss", "")]
    return "_".join(["loss", *kept])
