"""Handling of an objective's NaN or infinite terms, without waiting for the device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from losskit.errors import ConfigError, NonFiniteError, NonFiniteWarning, nearest

_POLICIES = ("raise", "warn", "skip", "ignore")


class NonFiniteGuard:
    """Looks at a step's values; on an accelerator it tells of them when the next step begins.

    Args:
        policy: ``"raise"``, ``"warn"``, ``"skip"`` or ``"ignore"``; see
            `Objective`.

    Raises:
        ConfigError: the policy is unknown.
    """

    def __init__(self, policy: str) -> None:
        if policy not in _POLICIES:
            raise ConfigError(
                f"on_nonfinite must be one of {', '.join(_POLICIES)}, not {policy!r}"
                + nearest(str(policy), _POLICIES)
            )
        self.policy = policy
        self._pending: tuple[list[str], Tensor, torch.cuda.Event | None] | None = None

    def look(self, values: Sequence[tuple[int, str, Tensor]]) -> set[int]:
        """Note which values of a step are finite.

        Args:
            values: each with its term's index and its name.

        Returns:
            The indices of the terms to leave out.
        """
        if self.policy == "ignore" or torch.compiler.is_compiling() or not values:
            return set()
        finite = torch.stack([torch.isfinite(value.detach()).all() for _, _, value in values])
        if self.policy == "skip":
            fine = finite.tolist()
            return {index for (index, _, _), ok in zip(values, fine, strict=True) if not ok}
        if finite.is_cuda and torch.cuda.is_current_stream_capturing():
            return set()  # a captured step is replayed without this code
        self._pending = ([name for _, name, _ in values], *_on_its_way(finite))
        if finite.device.type == "cpu":
            self.check()
        return set()

    def check(self) -> None:
        """Tell of what the last step left to tell.

        Raises:
            NonFiniteError: a value was NaN or infinite, and the policy is ``"raise"``.
        """
        if self._pending is None:
            return
        (names, finite, arrived), self._pending = self._pending, None
        if arrived is not None:
            arrived.synchronize()
        if bool(finite.all()):
            return
        bad = [name for name, fine in zip(names, finite.tolist(), strict=True) if not fine]
        message = (
            f"{', '.join(bad)} {'is' if len(bad) == 1 else 'are'} NaN or infinite; look at that "
            "term's inputs, or set on_nonfinite to 'skip'"
        )
        if self.policy == "raise":
            raise NonFiniteError(message)
        warnings.warn(message, NonFiniteWarning, stacklevel=5)

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start without the last step's leftovers."""
        return {**self.__dict__, "_pending": None}


def _on_its_way(finite: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy for the CPU that nothing waits for yet, and the event of its arrival.

    Asking the device at the next step would wait for all that was queued since: the backward pass.
    """
    if not finite.is_cuda:
        return finite, None
    host = torch.empty(finite.shape, dtype=finite.dtype, pin_memory=True)
    host.copy_(finite, non_blocking=True)
    return host, torch.cuda.current_stream(finite.device).record_event()
