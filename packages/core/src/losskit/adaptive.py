"""A weight that balances gradients (Esser et al., Taming Transformers, CVPR 2021, arXiv:2012.09841)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from losskit.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class AdaptiveWeight:
    r"""$w = s\cdot\mathrm{clip}\big(\lVert\nabla_\theta L_{ref}\rVert / (\lVert\nabla_\theta L\rVert
    + \epsilon), 0, m\big)$, without gradient, at the last layer's parameter $\theta$.

    In a config: ``loss_weight: {adaptive: {reference: loss_l1, wrt: last_layer, scale: 0.8}}``.

    Args:
        reference: the ``loss_name`` whose gradient sets the scale.
        wrt: the key of the outputs dict that holds the last layer's weight (a tensor in the graph).
        scale: $s$; VQGAN's ``disc_weight``, 0.8.
        max: $m$.
        eps: $\epsilon$.
    """

    reference: str
    wrt: str
    scale: float = 1.0
    max: float = 1e4
    eps: float = 1e-4

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AdaptiveWeight:
        """Read the ``adaptive`` mapping of a ``loss_weight``.

        Raises:
            ConfigError: a key is unknown or missing.
        """
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in known:
                raise ConfigError(
                    f"loss_weight.adaptive has no key {key!r}{nearest(str(key), known)}; "
                    f"it takes {', '.join(known)}"
                )
        for key in ("reference", "wrt"):
            if not isinstance(config.get(key), str):
                raise ConfigError(f"loss_weight.adaptive needs {key!r}, a name")
        return cls(**config)

    def __call__(self, value: Tensor, reference: Tensor, wrt: Tensor) -> Tensor:
        """The weight for ``value``, a scalar tensor without gradient."""
        own = _gradient_norm(value, wrt)
        aim = _gradient_norm(reference, wrt)
        ratio: Tensor = aim / (own + self.eps)
        return ratio.clamp(0.0, self.max) * self.scale


def _gradient_norm(value: Tensor, wrt: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, wrt, retain_graph=True, allow_unused=True)
    if gradient is None:
        return torch.zeros((), device=wrt.device)
    norm: Tensor = torch.linalg.vector_norm(gradient.detach().float())
    return norm
