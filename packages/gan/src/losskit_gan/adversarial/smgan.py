"""Soft mask-guided adversarial loss for inpainting (AOT-GAN, arXiv:2104.01431)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gaussian_blur(
    mask: Float[Tensor, "b c h w"], *, kernel_size: int = 71, sigma: float = 10.0
) -> Float[Tensor, "b c h w"]:
    """Blur with a Gaussian, with zeros beyond the border.

    Args:
        mask: any values.
        kernel_size: odd; AOT-GAN's 71.
        sigma: in pixels; AOT-GAN's 10.

    Returns:
        A tensor of the mask's shape. A mask of ones is below 1 near the border.

    Raises:
        ValueError: ``kernel_size`` is even, or a value is not positive.

    Example:
        >>> import torch
        >>> gaussian_blur(torch.ones(1, 1, 100, 100))[0, 0, 50, 50]
        tensor(1.)
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, not {kernel_size!r}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, not {sigma!r}")
    half = kernel_size // 2
    distance = torch.arange(-half, half + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.exp(-distance.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(mask.shape[1], 1, -1)
    # Two passes of 71 instead of one of 71²: a Gaussian is separable.
    channels = mask.shape[1]
    rows = F.conv2d(mask, kernel.unsqueeze(-1), padding=(half, 0), groups=channels)
    return F.conv2d(rows, kernel.unsqueeze(-2), padding=(0, half), groups=channels)


def smgan_loss(
    logits: Float[Tensor, "b 1 h w"],
    target_is_real: bool,
    mask: Float[Tensor, "b 1 H W"],
    *,
    is_disc: bool = False,
    real_label: float = 1.0,
    fake_label: float = 0.0,
    elementwise: bool = False,
) -> Float[Tensor, "b 1 H W"]:
    r"""Squared distance to a label that knows where the hole is; one value per pixel of the mask.

    The discriminator's label of a generated image is the mask, blurred; of a real one,
    ``real_label``. The generator's is ``real_label`` everywhere, and its squared distance counts
    inside the hole: $(D - 1)^2 \cdot m / \bar m$.

    MMagic averages the generator's distance before it multiplies by the mask, so that the mask
    cancels; published numbers rest on that, and it is the default here. ``elementwise`` is the
    formula as written in the paper.

    Args:
        logits: a patch discriminator's; resized to the mask's size (bilinear, corners aligned).
        target_is_real: whether the label wanted is that of real images.
        mask: 1 in the hole, 0 outside.
        is_disc: whether the discriminator is trained.
        real_label: label of real images.
        fake_label: label the generator is given with ``target_is_real=False``.
        elementwise: weigh each pixel by the mask.

    Raises:
        TypeError: the mask is not a tensor.
        ValueError: it is missing, or of a wrong shape.

    References:
        Y. Zeng et al., "Aggregated Contextual Transformations for High-Resolution Image
        Inpainting", TVCG 2022, section 3.3, arXiv:2104.01431.
    """
    if mask is None:
        raise ValueError("gan_type='smgan' needs mask: 1 in the hole, 0 outside, (b, 1, h, w)")
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be a tensor, not {type(mask).__name__}")
    fits = logits.ndim == mask.ndim == 4 and mask.shape[0] in (1, logits.shape[0])
    if not fits or mask.shape[1] not in (1, logits.shape[1]):
        raise ValueError(
            f"gan_type='smgan' needs logits and mask of shape (b, 1, h, w), not "
            f"{tuple(logits.shape)} and {tuple(mask.shape)}"
        )
    mask = mask.to(logits.dtype)
    if logits.shape[2:] != mask.shape[2:]:
        logits = F.interpolate(logits, size=mask.shape[2:], mode="bilinear", align_corners=True)
    if is_disc and not target_is_real:
        return (logits - gaussian_blur(mask).detach()).square()
    squares = (logits - (real_label if target_is_real else fake_label)).square()
    if is_disc:
        return squares
    if not elementwise:
        squares = squares.mean()
    # An empty hole leaves nothing to count: 0 instead of MMagic's 0/0.
    return squares * mask / mask.mean().clamp_min(1e-12)
