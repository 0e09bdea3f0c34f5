"""Path length regularisation of StyleGAN2's generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from losskit.backbones import uncompiled
from losskit.losses.base import Loss
from losskit.losses.checks import check_positive
from losskit.losses.reduction import Reduction, check_reduction, per_sample, reduce
from losskit_gan.distributed import mean_over_ranks, world_size
from losskit_gan.penalties.double_backward import differentiable, differentiable_twice
from losskit_gan.penalties.input_gradients import safe_sqrt, unwrapped
from losskit_gan.predictions import HALF


def path_lengths(
    fake_imgs: Float[Tensor, "b c h w"],
    latents: Float[Tensor, "b *layers d"],
    *,
    noise: Tensor | None = None,
) -> Float[Tensor, " b"]:
    r"""Compute how far each image moves, in a random direction, when its latent code does.

    $\lVert J_w^\top y\rVert_2$ with $y \sim \mathcal N(0, I) / \sqrt{hw}$: the root of the squares
    summed over the latent's channels and averaged over its layers.

    Args:
        fake_imgs: images made from the latents, with the graph between them. A generator with
            attention must make them under ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``
            where the lengths are trained on: the fused kernels have no second derivative.
        latents: ``(b, d)``, or ``(b, layers, d)`` where layers have codes of their own.
        noise: the unscaled y, of the images' shape; drawn if not given.

    Returns:
        ``(b,)``, ≥ 0, in float32 at least, with a graph.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: the images do not depend on the latents, or a shape does not fit.

    Example:
        >>> codes = torch.ones(2, 4, requires_grad=True)
        >>> images = (codes * 3).view(2, 1, 2, 2)
        >>> path_lengths(images, codes, noise=torch.ones(2, 1, 2, 2)).detach()  # √(4·(3/2)²)
        tensor([3., 3.])
    """
    for name, value in (("fake_imgs", fake_imgs), ("latents", latents)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")
    if fake_imgs.ndim != 4 or latents.ndim < 2 or len(latents) != len(fake_imgs):
        raise ValueError(
            "fake_imgs must be (b, c, h, w) and latents (b, ..., d), not "
            f"{tuple(fake_imgs.shape)} and {tuple(latents.shape)}"
        )
    if not (latents.requires_grad and fake_imgs.requires_grad):
        raise ValueError(
            "fake_imgs do not depend on latents: generate them with gradients on, from latents "
            "that require grad"
        )
    if fake_imgs.dtype in HALF:
        fake_imgs = fake_imgs.float()
    if noise is None:
        noise = torch.randn_like(fake_imgs)
    elif noise.shape != fake_imgs.shape:
        raise ValueError(
            f"noise must have the images' shape {tuple(fake_imgs.shape)}, not {tuple(noise.shape)}"
        )
    height, width = fake_imgs.shape[2:]
    moved = (fake_imgs * noise.to(fake_imgs.dtype)).sum() / (height * width) ** 0.5
    (slopes,) = torch.autograd.grad(moved, latents, create_graph=True, allow_unused=True)
    if slopes is None:
        raise ValueError("fake_imgs do not depend on latents: pass the latents they are made from")
    slopes = slopes.float() if slopes.dtype in HALF else slopes
    squares = slopes.square().sum(-1)
    return safe_sqrt(per_sample(squares))


class GeneratorPathRegularizer(Loss):
    r"""Keep path lengths near their moving average: $(\ell - a)^2$.

    The average a takes in the current lengths first, and the gradient goes through that, as in
    MMagic and in StyleGAN2's own code. With ``sync_mean_buffer`` all ranks use one average, and
    gradients averaged over ranks are those of the joint batch.

    It is state: a buffer, saved with the objective, updated in training mode only.

    Call it with ``generator`` and ``num_batches``, and it generates images of its own (the graph
    is then in full precision, whatever autocast says, not compiled, and without fused attention
    kernels); or with the ``fake_imgs`` and ``latents`` of a step already made, which a generator
    with attention must make as `path_lengths` says.

    Args:
        pl_batch_shrink: generate ``num_batches // pl_batch_shrink`` images, to save memory.
        decay: how fast the average follows.
        pl_batch_size: number of images to generate; overrides ``pl_batch_shrink``.
        sync_mean_buffer: average over the ranks of a distributed run.
        reduction: over samples.

    Raises:
        ValueError: an option is out of range.

    References:
        T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020,
        section 3.2 and appendix B (weight 2 at every 8th step, batch halved), arXiv:1912.04958.
    """

    loss_name: ClassVar[str | None] = "loss_path_regular"
    #: What moves with a batch's mean, and so may be moved once by a batch that is seen in parts.
    batch_averages: ClassVar[tuple[str, ...]] = ("mean_path_length",)
    mean_path_length: Tensor

    def __init__(
        self,
        *,
        pl_batch_shrink: int = 1,
        decay: float = 0.01,
        pl_batch_size: int | None = None,
        sync_mean_buffer: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_positive(pl_batch_shrink=pl_batch_shrink)
        if pl_batch_size is not None:
            check_positive(pl_batch_size=pl_batch_size)
        if not 0 < decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, not {decay!r}")
        self.pl_batch_shrink = pl_batch_shrink
        self.decay = decay
        self.pl_batch_size = pl_batch_size
        self.sync_mean_buffer = sync_mean_buffer
        self.reduction: Reduction = reduction
        self.register_buffer("mean_path_length", torch.zeros(()))

    # A second backward pass does not go through compiled graphs.
    @uncompiled
    def forward(
        self,
        generator: Any = None,
        num_batches: int | None = None,
        fake_imgs: Float[Tensor, "b c h w"] | None = None,
        latents: Float[Tensor, "b *layers d"] | None = None,
        noise: Tensor | None = None,
    ) -> Float[Tensor, "..."]:
        """The penalty of images made now, or of ones made from known latents.

        Args:
            generator: called as ``generator(None, num_batches=n, return_latents=True)``; returns a
                mapping with ``fake_img`` and ``latent``.
            num_batches: the batch size.
            fake_imgs: images already made, instead of a generator; see `path_lengths`.
            latents: what they were made from.
            noise: see `path_lengths`.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: neither pair is complete, the generator returns something else, or the
                given images have no second derivative by the latents.
        """
        by_generator = generator is not None and num_batches is not None
        if by_generator == (fake_imgs is not None and latents is not None):
            raise ValueError(
                "give either generator and num_batches, or fake_imgs and latents; in a config: "
                "data_info: {generator: gen, num_batches: batch_size}"
            )
        if by_generator:
            lengths = self._generated(generator, int(num_batches or 0), noise)
        else:
            assert fake_imgs is not None
            assert latents is not None
            with torch.autocast(fake_imgs.device.type, enabled=False):
                lengths = path_lengths(fake_imgs, latents, noise=noise)
            if torch.is_grad_enabled() and not differentiable(lengths):
                raise ValueError(
                    "fake_imgs have no second derivative by latents, as after a fused attention "
                    "kernel: make them under torch.nn.attention.sdpa_kernel(SDPBackend.MATH), or "
                    "give generator and num_batches"
                )
        return self._penalty(lengths)

    def _generated(self, generator: Any, batch: int, noise: Tensor | None) -> Tensor:
        count = self.pl_batch_size or max(1, batch // self.pl_batch_shrink)
        wants_graph = torch.is_grad_enabled()
        network = unwrapped(generator)
        parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
        device = self.mean_path_length.device if parameter is None else parameter.device
        with differentiable_twice(device, network):
            made = network(None, num_batches=count, return_latents=True)
            if not isinstance(made, Mapping) or not {"fake_img", "latent"} <= set(made):
                found = ", ".join(made) if isinstance(made, Mapping) else type(made).__name__
                raise ValueError(
                    "generator(None, num_batches=n, return_latents=True) must return a mapping "
                    f"with 'fake_img' and 'latent', not {found}"
                )
            lengths = path_lengths(made["fake_img"], made["latent"], noise=noise)
        return lengths if wants_graph else lengths.detach()

    def _penalty(self, lengths: Tensor) -> Tensor:
        old = self.mean_path_length.to(lengths).clone()
        own = lengths.mean()
        if self.sync_mean_buffer and world_size() > 1:
            joint = mean_over_ranks(own)
            # The joint mean, with a gradient such that DDP's average of all ranks' gradients is
            # the joint batch's: the penalty's slope by the average must be the joint one, too.
            average = old + self.decay * (joint - old)
            slope = -2 * (joint - average)
            penalty = (lengths - average).square() + slope * self.decay * (own - own.detach())
        else:
            average = old + self.decay * (own - old)
            penalty = (lengths - average).square()
        if self.training:
            with torch.no_grad():
                self.mean_path_length.copy_(average)
        return reduce(penalty, self.reduction)
