"""Every error losskit raises on purpose: one line that says what is wrong and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from losskit.text import printable


class LosskitError(Exception):
    """Base of all of them; the command line shows its message without a traceback.

    Args:
        message: kept to one line, whatever a config's keys or another error put into it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(message))


class ConfigError(LosskitError, ValueError):
    """A config is malformed: an unknown key, a wrong value, a missing part."""


class ImageTooSmallError(LosskitError, ValueError):
    """An image is smaller than a network's poolings and kernels take."""


class UnknownLossError(LosskitError, KeyError):
    """No installed plugin supplies a loss of this name."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class AmbiguousLossError(UnknownLossError):
    """Several plugins supply a loss of this bare name; the qualified names tell them apart."""


class MissingOutputError(LosskitError, KeyError):
    """The outputs dict lacks a key that a term's ``data_info`` names."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class PluginError(LosskitError, RuntimeError):
    """A plugin could not be used; the original exception is the ``__cause__``."""


class NonFiniteError(LosskitError, ArithmeticError):
    """A term's value is NaN or infinite; the message names the term."""


class WeightsError(LosskitError, RuntimeError):
    """Pretrained weights cannot be had, or are not what they should be."""


class PluginWarning(UserWarning):
    """A plugin was left out, or only partly works."""


class NonFiniteWarning(UserWarning):
    """A term's value was NaN or infinite and ``on_nonfinite`` said to go on."""


class RangeWarning(UserWarning):
    """A tensor's values are far outside the range its loss was told to expect."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    names = {candidate.lower(): candidate for candidate in known}
    word = str(name).lower()
    # "L1" is less than half of "l1loss", yet nothing else can be meant.
    begun = sorted((n for n in names if len(word) > 1 and n.startswith(word)), key=len)
    match = begun or difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"; did you mean {names[match[0]]!r}?" if match else ""
