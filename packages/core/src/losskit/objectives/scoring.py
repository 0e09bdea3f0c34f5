"""One value per image for ``losskit eval``, from batches wherever that gives the same numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.discovery.extras import explained
from losskit.errors import ConfigError, LosskitError
from losskit.text import one_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from losskit.objectives.term import Term

_TOLERANCE = 1e-4  # relative; what batching may change in float32


class Scorer:
    """A loss of two images as a column of the table.

    A loss reduces over its batch, so several images at once need its unreduced form. Whether that
    form's mean over an image is the loss of that image is not assumed: the first batch is computed
    both ways, and where they differ the loss is called image by image.

    Args:
        config: the loss's, as of ``losskit.build``.
        device: where to compute.
        span: the values of black and white, for a loss whose options do not say them.

    Raises:
        ConfigError: the loss does not compare two images.
    """

    def __init__(
        self, config: Mapping[str, Any], device: str, span: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        config = told_range(config, span)
        self.term = image_term(config, device)
        self.unreduced = _unreduced(config, device)
        self._batched: bool | None = None if self.unreduced is not None else False

    def to(self, device: str | torch.device) -> None:
        """Compute there from now on."""
        self.term.to(device)
        if self.unreduced is not None:
            self.unreduced.to(device)

    def __call__(self, pred: Tensor, target: Tensor, names: Sequence[str]) -> list[float]:
        """The loss of each image of the batch.

        Raises:
            LosskitError: the loss refuses the images.
        """
        if len(names) > 1 and self._batched is not False:
            values = self._together(pred, target)
            if values is not None and self._batched:
                return values
            single = self._one_by_one(pred, target, names)
            self._batched = values is not None and all(
                math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-7)
                for a, b in zip(values, single, strict=True)
            )
            return single
        return self._one_by_one(pred, target, names)

    def _together(self, pred: Tensor, target: Tensor) -> list[float] | None:
        import torch

        assert self.unreduced is not None
        try:
            with torch.no_grad():
                value = self.unreduced(pred=pred, target=target)
        except (ValueError, TypeError, RuntimeError):
            return None  # image by image, the error will name the image
        if value is None or value.ndim == 0 or value.shape[0] != pred.shape[0]:
            return None
        per_image: list[float] = (
            value.flatten(1).mean(1).tolist() if value.ndim > 1 else value.tolist()
        )
        return per_image

    def _one_by_one(self, pred: Tensor, target: Tensor, names: Sequence[str]) -> list[float]:
        return [
            self._value(pred[index : index + 1], target[index : index + 1], name)
            for index, name in enumerate(names)
        ]

    def _value(self, pred: Tensor, target: Tensor, name: str) -> float:
        import torch

        with one_line_errors(f"{self.term.type_name} on {name!r}"), torch.no_grad():
            value = self.term(pred=pred, target=target)
        if value is None or value.numel() != 1:
            raise ConfigError(
                f"{self.term.type_name} must give one number here: leave out reduction"
            )
        return float(value)


class ObjectiveScorer:
    """The terms of an objective, and their total, as columns of the table.

    Args:
        path: of a config with ``terms``.
        device: where to compute.
        iteration: what the schedules see.
    """

    def __init__(self, path: Path, device: str, iteration: int = 0) -> None:
        from losskit.objectives.config import load_objective

        check_device(device)
        self.path = path
        self.iteration = iteration
        self.objective = load_objective(path).to(device).eval()

    def __call__(self, pred: Tensor, target: Tensor, name: str) -> dict[str, float]:
        """``total`` and the logs of one pair, ``(1, 3, h, w)`` each.

        Raises:
            LosskitError: a term refuses the images, or needs another input.
        """
        import torch

        outputs = {"pred": pred, "target": target, "init": target, "iteration": self.iteration}
        with one_line_errors(f"{self.path} on {name!r}"), torch.no_grad():
            out = self.objective(outputs)
            return {"total": float(out.total), **{key: float(v) for key, v in out.logs.items()}}


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Turn what losses, networks and files refuse into an error of one line.

    Raises:
        LosskitError: ``what`` and the error's own words.
    """
    try:
        yield
    except LosskitError:
        raise
    except Exception as error:  # of anybody's loss or network; the chain keeps its traceback
        raise LosskitError(f"{what}: {explained(error)}") from error


def told_range(config: Mapping[str, Any], span: tuple[float, float]) -> Mapping[str, Any]:
    """The config with ``data_range``, where its loss takes one and the config says no range."""
    from losskit.discovery.registry import get_spec
    from losskit.signatures import loss_signature

    if {"data_range", "norm_img"} & config.keys():
        return config
    if "data_range" not in loss_signature(get_spec(config["type"]))["arguments"]:
        return config
    low, high = span
    return {**config, "data_range": span if low else high}


def image_term(config: Mapping[str, Any], device: str) -> Term:
    """A term that compares two images by position, on its device and in evaluation mode.

    Raises:
        ConfigError: its loss takes other inputs, or there is no such device.
    """
    from losskit.losses.base import input_parameters
    from losskit.objectives.build import build

    term = build(config)
    inputs = input_parameters(term.loss)
    required = [name for name, p in inputs.items() if p.default is p.empty]
    if not {"pred", "target"} <= set(inputs) or set(required) - {"pred", "target"}:
        raise ConfigError(
            f"{term.type_name} does not compare two images: its inputs are {', '.join(inputs)}; "
            "see `losskit list --tag image`"
        )
    check_device(device)
    return term.to(device).eval()


def check_device(device: str) -> None:
    """Look before work begins: a loss without parameters would not notice.

    Raises:
        ConfigError: there is no such device, or none of it here.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {device}: {one_line(error)[:200]}") from error


def _unreduced(config: Mapping[str, Any], device: str) -> Term | None:
    if "reduction" in config:
        return None
    try:
        return image_term({**config, "reduction": "none"}, device)
    except ConfigError:
        return None


def summarise(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation, and half the 95 % confidence interval of the mean (Student's t).

    One value has no spread: ``std`` and ``ci95`` are ``None``. Where a value is NaN or infinite, so
    is the mean, and the spread is NaN.
    """
    count = len(values)
    if not all(map(math.isfinite, values)):
        return {"mean": sum(values) / count, "std": math.nan, "ci95": math.nan, "n": count}
    deviation = statistics.stdev(values) if count > 1 else None
    half = None if deviation is None else student_t(count - 1) * deviation / math.sqrt(count)
    return {"mean": statistics.fmean(values), "std": deviation, "ci95": half, "n": count}


def student_t(freedom: int, probability: float = 0.95) -> float:
    """Half the width of the central interval of Student's t that holds ``probability``."""
    low, high = 0.0, 1e3
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _central(middle, freedom) < probability else (low, middle)
    return high


def _central(t: float, freedom: int) -> float:
    """The share of Student's t within ±t: the series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    power = cosine if odd else 1.0
    total, factor = 0.0, 1.0
    for index in range(1 if odd else 0, freedom - 1, 2):
        total += factor * power
        factor *= (index + 1) / (index + 2)
        power *= cosine * cosine
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
