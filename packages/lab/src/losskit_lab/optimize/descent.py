"""Gradient descent on pixels or on a latent, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from losskit.errors import ConfigError, nearest
from losskit.objectives.objective import Objective, ObjectiveOutput

OptimizerName: TypeAlias = Literal["adam", "lbfgs"]
#: Steps in units of the image's range. L-BFGS finds its own length, so 1 is the natural start.
DEFAULT_LR: Mapping[str, float] = {"adam": 0.02, "lbfgs": 1.0}


class Descent:
    """An image (or latent) on its way down an objective.

    The objective sees ``{"pred", "iteration"}`` besides the fixed ``outputs``. Its own parameters
    are frozen: only the image moves.

    Args:
        objective: what to descend on.
        init: where to start: an image ``(b, c, h, w)``, or a latent of any shape. It is copied.
        outputs: what else the objective needs, constant over the run (``target``).
        network: makes the image of a latent; ``None``: the variable is the image.
        optimizer: ``"adam"``, or ``"lbfgs"`` (one search direction with a strong-Wolfe line search
            a step; several evaluations of the objective each).
        lr: Adam's step, in the units of ``init``; for L-BFGS the line search's first trial.
            ``None``: 0.02 and 1.
        bounds: the image is kept between these after each step; ``None`` (always so for a latent):
            nothing is clipped.

    Raises:
        ConfigError: the optimizer is unknown, ``lr`` is not positive, or no term is optimised.

    Example:
        >>> import torch, losskit
        >>> target = torch.full((1, 3, 4, 4), 0.7)
        >>> descent = Descent(losskit.Objective([{"type": "MSELoss"}]), torch.zeros(1, 3, 4, 4),
        ...                   {"target": target}, optimizer="lbfgs")
        >>> for _ in range(3):
        ...     _ = descent.step()
        >>> bool((descent.image() - target).abs().max() < 1e-3)
        True
    """

    def __init__(
        self,
        objective: Objective,
        init: Tensor,
        outputs: Mapping[str, Any] | None = None,
        *,
        network: Callable[[Tensor], Tensor] | None = None,
        optimizer: OptimizerName = "adam",
        lr: float | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        if optimizer not in DEFAULT_LR:
            raise ConfigError(
                f"optimizer must be one of {', '.join(DEFAULT_LR)}, not {optimizer!r}"
                + nearest(str(optimizer), DEFAULT_LR)
            )
        if lr is not None and not 0 < lr < math.inf:
            raise ConfigError(f"lr must be positive, not {lr!r}")
        if all(getattr(term, "monitor", False) for term in objective.terms):
            raise ConfigError("every term is only monitored: there is nothing to descend on")
        self.objective = objective.eval().requires_grad_(False)
        self.outputs = dict(outputs or {})
        self.network = network
        self.bounds = None if network is not None else bounds
        self.variable = init.detach().clone().requires_grad_()
        self.iteration = 0
        rate = DEFAULT_LR[optimizer] if lr is None else lr
        self._optimizer: torch.optim.Optimizer
        if optimizer == "adam":
            self._optimizer = torch.optim.Adam([self.variable], lr=rate)
        else:
            self._optimizer = torch.optim.LBFGS(
                [self.variable],
                lr=rate,
                max_iter=1,
                max_eval=20,
                history_size=20,
                tolerance_grad=0,
                tolerance_change=0,
                line_search_fn="strong_wolfe",
            )

    def image(self) -> Tensor:
        """The present image, without gradient."""
        with torch.no_grad():
            return self._render().detach().clone()

    def _render(self) -> Tensor:
        return self.variable if self.network is None else self.network(self.variable)

    def step(self) -> ObjectiveOutput:
        """One step.

        Returns:
            The total and the logs at the image before the step.

        Raises:
            NonFiniteError: a term is NaN or infinite; the image is still that of the step before.
        """
        first: list[ObjectiveOutput] = []

        def closure() -> Any:
            self._optimizer.zero_grad()
            out = self.objective(
                {**self.outputs, "pred": self._render(), "iteration": self.iteration}
            )
            total: Tensor = out.total
            total.backward()
            first.append(ObjectiveOutput(total.detach(), out.logs))
            return total

        self._optimizer.step(closure)
        if self.bounds is not None:
            with torch.no_grad():
                self.variable.clamp_(*self.bounds)
        self.iteration += 1
        return first[0]

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, random numbers included."""
        return {
            "iteration": self.iteration,
            "variable": self.variable.detach(),
            "optimizer": self._optimizer.state_dict(),
            "objective": self.objective.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave; on the same machine, to the very same bits."""
        with torch.no_grad():
            self.variable.copy_(state["variable"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["objective"])
        self.iteration = int(state["iteration"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["random_cuda"]])
