"""The slope of a discriminator at given images: what every gradient penalty is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones import uncompiled
from losskit.errors import nearest
from losskit.losses.reduction import Reduction, check_reduction, per_sample, reduce
from losskit_gan.penalties.closure_modules import networks_in
from losskit_gan.penalties.double_backward import differentiable_twice
from losskit_gan.predictions import HALF, Prediction, logits_per_scale

Discriminator: TypeAlias = Callable[[Tensor], Prediction]
NormMode: TypeAlias = Literal["pixel", "HWC"]
_NORM_MODES = ("pixel", "HWC")
_PARALLEL = (nn.parallel.DistributedDataParallel, nn.parallel.DataParallel)


def unwrapped(network: Any, *, compiled: bool = True) -> Any:
    """The network inside wrappers that a second backward pass does not go through.

    ``torch.compile``'s, Lightning Fabric's, and the data-parallel ones, in any order. The gradients
    still reach a ``DistributedDataParallel`` wrapper's parameters, and are averaged over ranks as
    long as the same ``backward()`` also goes through an output of the wrapper, as that of a GAN
    loss does. FSDP's wrapper stays: its shards are useless without it.

    Args:
        network: a network, or any function, which is returned as it is.
        compiled: also go round ``torch.compile``; ``False`` for what needs no second backward pass.
    """
    while True:
        if isinstance(network, _PARALLEL):
            network = network.module
        elif compiled and isinstance(network, nn.Module) and hasattr(network, "_orig_mod"):
            network = network._orig_mod
        elif isinstance(network, nn.Module) and hasattr(network, "_forward_module"):
            network = network._forward_module
        else:
            return network


def in_precision_of(network: Any, images: Tensor) -> Tensor:
    """The images, detached, in the network's own precision.

    A function's is not known: it takes them as they are, or in float32 where mixed precision may have
    made them, unless a network that it names is in half precision itself. That must be asked before
    autocast is switched off.
    """
    dtype, whole = images.dtype, torch.promote_types(images.dtype, torch.float32)
    if isinstance(network, nn.Module):
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), whole)
    elif dtype in HALF and torch.is_autocast_enabled(images.device.type):
        named = (p.dtype for found in networks_in(network) for p in found.parameters())
        dtype = dtype if dtype in named else whole
    return images.detach().to(dtype)


@uncompiled
def input_gradients(
    discriminator: Discriminator, images: Float[Tensor, "b c *size"]
) -> Float[Tensor, "b c *size"]:
    """The gradient of the sum of a discriminator's logits by its input.

    Args:
        discriminator: a network, compiled or wrapped as it may be, or any function of images. All
            the logits it returns count: those of every patch and every scale.
        images: where to differentiate; no gradient flows into them.

    Returns:
        The gradient, in at least float32, with a graph to the discriminator's parameters unless
        the call is made under ``no_grad``.

    Raises:
        TypeError: ``discriminator`` cannot be called.
        ValueError: its output does not depend on its input.
    """
    if not callable(discriminator):
        raise TypeError(
            f"discriminator must be a network or a function, not {type(discriminator).__name__}"
        )
    wants_graph = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    network = unwrapped(discriminator)
    leaf = in_precision_of(network, images)
    with differentiable_twice(images.device, network):
        leaf = (leaf.clone() if leaf.is_inference() else leaf).requires_grad_()
        prediction = network(leaf.clone())  # a network may work on its input in place
        total = sum(
            logits.sum() for logits in logits_per_scale(prediction, "discriminator's output")
        )
        if not isinstance(total, Tensor) or not total.requires_grad:
            raise ValueError(
                "discriminator's output does not depend on its input: remove detach() or no_grad()"
            )
        (gradients,) = torch.autograd.grad(total, leaf, create_graph=wants_graph, allow_unused=True)
        if gradients is None:
            raise ValueError("discriminator's output does not depend on its input")
        return gradients.float() if gradients.dtype in HALF else gradients


def check_images(images: Any, name: str) -> None:
    """Raise unless ``images`` is a floating-point batch with channels."""
    if not isinstance(images, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(
            f"{name} must be floating-point, not {images.dtype}: convert it with .float()"
        )
    if images.ndim < 2:
        raise ValueError(f"{name} must have shape (b, c, ...), not {tuple(images.shape)}")


def check_norm_mode(norm_mode: str) -> None:
    """Raise ValueError unless ``norm_mode`` is known."""
    if norm_mode not in _NORM_MODES:
        raise ValueError(
            f"norm_mode must be one of {', '.join(_NORM_MODES)}, not {norm_mode!r}"
            + nearest(str(norm_mode), _NORM_MODES)
        )


def squared_norms(gradients: Float[Tensor, "b c *size"], norm_mode: NormMode) -> Tensor:
    """``(b, *size)`` squared norms over channels for ``pixel``, ``(b,)`` over all for ``HWC``."""
    check_norm_mode(norm_mode)
    squares = gradients.square()
    return squares.sum(1) if norm_mode == "pixel" else squares.flatten(1).sum(1)


def safe_sqrt(squares: Tensor) -> Tensor:
    """The square root, with the gradient 0 at 0 instead of NaN."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def masked(gradients: Tensor, mask: Tensor | None) -> Tensor:
    """The gradients where the mask is set.

    Raises:
        TypeError: the mask is not a tensor.
        ValueError: it does not broadcast to the gradients' shape.
    """
    if mask is None:
        return gradients
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be a tensor or None, not {type(mask).__name__}")
    fits = mask.ndim == gradients.ndim and all(
        have in (1, want) for have, want in zip(mask.shape, gradients.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not fit images of shape "
            f"{tuple(gradients.shape)}: give (b, 1, h, w)"
        )
    return gradients * mask


def reduce_samples(values: Tensor, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Average each sample's values, divide by the mask's mean, and reduce over samples."""
    check_reduction(reduction)
    means = per_sample(values)
    if mask is not None:
        # An all-zero mask has no gradients to penalise: zero, not 0/0.
        means = means / mask.to(means.dtype).mean().clamp_min(1e-12)
    return reduce(means, reduction)
