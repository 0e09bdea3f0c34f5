"""What an objective does about terms that are NaN or infinite, without waiting for the device."""

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
            [`Objective`][losskit.Objective].

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
        self._pending: tuple[list[str], Tensor] | None = None

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
        self._pending = ([name for _, name, _ in values], finite)
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
        (names, finite), self._pending = self._pending, None
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
