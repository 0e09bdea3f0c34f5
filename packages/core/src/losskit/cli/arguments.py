"""Words of a command line as what they mean: losses with options, ranges, numbers."""

from __future__ import annotations

import argparse
import json
import math
import re
from typing import Any

from losskit.errors import ConfigError

#: Commas between options: those that no bracket closes over.
_COMMAS = re.compile(r",(?![^\[{]*[\]}])")


def parse_loss(text: str) -> dict[str, Any]:
    """``"CharbonnierLoss:eps=1e-6,reduction=sum"`` as a config; values are read as JSON if they are.

    Commas inside ``[...]`` and ``{...}`` belong to the value: ``layer_weights={"3": 1, "8": 0.5}``.

    Raises:
        ConfigError: an option has no ``=``.
    """
    name, _, options = text.partition(":")
    config: dict[str, Any] = {"type": name}
    for part in filter(None, _COMMAS.split(options)):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--loss {text!r}: write options as key=value, not {part!r}")
        try:
            config[key] = json.loads(value)
        except json.JSONDecodeError:
            config[key] = value
    return config


def parse_range(text: str) -> tuple[float, float]:
    """``"-1,1"`` as the values of black and white.

    Raises:
        argparse.ArgumentTypeError: it is not two numbers, the lower one first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"write it as LOW,HIGH, not {text!r}") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise argparse.ArgumentTypeError(f"both must be finite, not {text!r}")
    if low >= high:
        raise argparse.ArgumentTypeError(f"the lower value comes first, not {text!r}")
    return low, high


def check_least(arguments: argparse.Namespace, **least: int) -> None:
    """Each option that is given must be a number no smaller than this.

    Raises:
        ConfigError: one is smaller.
    """
    for name, bound in least.items():
        value = getattr(arguments, name)
        if value is not None and value < bound:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} must be at least {bound}, not {value}")
