"""A weight that balances gradients (Esser et al., Taming Transformers, CVPR 2021, arXiv:2012.09841)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        for key in ("scale", "max", "eps"):
            value = config.get(key, 1.0)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ConfigError(
                    f"loss_weight.adaptive.{key} must be a number of at least 0, not {value!r}"
                )
        return cls(**config)

    def __call__(self, value: Tensor, reference: Tensor, wrt: Tensor) -> Tensor:
        """The weight for ``value``, a scalar tensor without gradient.

        Raises:
            ConfigError: ``wrt`` is no tensor that takes a gradient.
        """
        if not isinstance(wrt, Tensor) or not wrt.requires_grad:
            raise ConfigError(
                f"outputs[{self.wrt!r}] must be a tensor with requires_grad=True, such as the last "
                "layer's weight, for an adaptive weight"
            )
        own = gradient_norm(value, [wrt])
        aim = gradient_norm(reference, [wrt])
        ratio: Tensor = aim / (own + self.eps)
        return ratio.clamp(0.0, self.max) * self.scale


def gradient_norm(value: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The L2 norm of ``value``'s gradient by all of ``tensors``; 0 where it does not depend on them.

    The graph is kept. Half-precision gradients are squared in float32.
    """
    zero = torch.zeros((), device=value.device)
    if not value.requires_grad:
        return zero
    gradients = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
    norms = [
        torch.linalg.vector_norm(g.detach(), dtype=torch.promote_types(g.dtype, torch.float32))
        for g in gradients
        if g is not None
    ]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else zero
