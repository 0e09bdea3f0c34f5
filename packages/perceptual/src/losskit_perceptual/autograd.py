"""Conditions under which a backward pass written by hand may stand in for torch's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from losskit.backbones import has_storage


def only_autograd(*tensors: Tensor) -> bool:
    """Return whether nothing but plain autograd is active: no compiler, no functorch, no forward mode."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and all(forward_ad.unpack_dual(t).tangent is None for t in tensors)
    )


def may_overwrite(grad: Tensor) -> bool:
    """Return whether a backward pass may write in place: not under double backward or batched gradients."""
    # A batch of gradients has no storage of its own.
    return not torch.is_grad_enabled() and has_storage(grad)
