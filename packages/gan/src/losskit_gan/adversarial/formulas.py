"""Adversarial objectives as pure functions, two for each: the discriminator's and the generator's.

All take logits: a tensor, a list with one per scale, or a list of feature lists that end with the
logits. Scales are averaged, everything within a scale is averaged, and the discriminator's loss is
the part of real images plus that of generated ones, without ½.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from losskit_gan.adversarial.smgan import smgan_loss
from losskit_gan.predictions import Prediction, mean_over_scales

_BOTH = ("real_logits", "fake_logits")
_FAKE = ("fake_logits",)


def _discriminator(
    on_real: Callable[[Tensor], Tensor],
    on_fake: Callable[[Tensor], Tensor],
    real_logits: Prediction,
    fake_logits: Prediction,
) -> Tensor:
    real = mean_over_scales(lambda x: on_real(x).mean(), real_logits, names=_BOTH[:1])
    return real + mean_over_scales(lambda x: on_fake(x).mean(), fake_logits, names=_BOTH[1:])


def _generator(on_fake: Callable[[Tensor], Tensor], fake_logits: Prediction) -> Tensor:
    return mean_over_scales(lambda x: on_fake(x).mean(), fake_logits, names=_FAKE)


def cross_entropy(logits: Tensor, *, label: float) -> Tensor:
    """Binary cross-entropy of each logit to one label."""
    labels = torch.full_like(logits, label)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def vanilla_discriminator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    *,
    real_label: float = 1.0,
    fake_label: float = 0.0,
) -> Tensor:
    r"""$-\log\sigma(D(x)) - \log(1-\sigma(D(\tilde x)))$: binary cross-entropy on logits.

    Args:
        real_logits: of real images, unbounded.
        fake_logits: of generated images.
        real_label: below 1 smooths (arXiv:1606.03498).
        fake_label: target of generated images.

    Returns:
        A scalar ≥ 0; 2 ln 2 for logits of 0.

    References:
        I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, arXiv:1406.2661.
    """
    return _discriminator(
        partial(cross_entropy, label=real_label),
        partial(cross_entropy, label=fake_label),
        real_logits,
        fake_logits,
    )


def vanilla_generator_loss(fake_logits: Prediction, *, real_label: float = 1.0) -> Tensor:
    r"""$-\log\sigma(D(\tilde x))$: the non-saturating form, ≥ 0; ln 2 for logits of 0.

    Args:
        fake_logits: of generated images.
        real_label: what the generator wants them to be.
    """
    return _generator(partial(cross_entropy, label=real_label), fake_logits)


def lsgan_discriminator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    *,
    real_label: float = 1.0,
    fake_label: float = 0.0,
) -> Tensor:
    r"""$(D(x)-b)^2 + (D(\tilde x)-a)^2$, without the paper's ½.

    Args:
        real_logits: of real images; no sigmoid.
        fake_logits: of generated images.
        real_label: the paper's b.
        fake_label: the paper's a.

    Returns:
        A scalar ≥ 0.

    References:
        X. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, eq. (2),
        arXiv:1611.04076.
    """
    return _discriminator(
        lambda x: (x - real_label).square(),
        lambda x: (x - fake_label).square(),
        real_logits,
        fake_logits,
    )


def lsgan_generator_loss(fake_logits: Prediction, *, real_label: float = 1.0) -> Tensor:
    r"""$(D(\tilde x)-c)^2 \ge 0$, without the paper's ½.

    Args:
        fake_logits: of generated images.
        real_label: the paper's c.
    """
    return _generator(lambda x: (x - real_label).square(), fake_logits)


def l1_discriminator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    *,
    real_label: float = 1.0,
    fake_label: float = 0.0,
) -> Tensor:
    r"""$|D(x)-b| + |D(\tilde x)-a| \ge 0$: LSGAN with the absolute distance.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.
        real_label: target of real images.
        fake_label: target of generated images.
    """
    return _discriminator(
        lambda x: (x - real_label).abs(),
        lambda x: (x - fake_label).abs(),
        real_logits,
        fake_logits,
    )


def l1_generator_loss(fake_logits: Prediction, *, real_label: float = 1.0) -> Tensor:
    r"""$|D(\tilde x)-c| \ge 0$.

    Args:
        fake_logits: of generated images.
        real_label: what the generator wants them to be.
    """
    return _generator(lambda x: (x - real_label).abs(), fake_logits)


def wgan_discriminator_loss(real_logits: Prediction, fake_logits: Prediction) -> Tensor:
    r"""$\overline{D(\tilde x)} - \overline{D(x)}$, unbounded: minus the Wasserstein estimate.

    The critic must be kept Lipschitz: by a gradient penalty, or by spectral normalisation.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.

    References:
        M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", ICML 2017, arXiv:1701.07875.
    """
    return _discriminator(torch.neg, lambda x: x, real_logits, fake_logits)


def wgan_generator_loss(fake_logits: Prediction) -> Tensor:
    r"""$-\overline{D(\tilde x)}$, unbounded.

    Args:
        fake_logits: of generated images.
    """
    return _generator(torch.neg, fake_logits)


def logistic_discriminator_loss(real_logits: Prediction, fake_logits: Prediction) -> Tensor:
    r"""$\mathrm{softplus}(-D(x)) + \mathrm{softplus}(D(\tilde x))$, StyleGAN's loss.

    MMagic's ``wgan-logistic-ns``; the same number as the vanilla loss with hard labels.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.

    Returns:
        A scalar ≥ 0; 2 ln 2 for logits of 0.

    References:
        T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020,
        arXiv:1912.04958.
    """
    return _discriminator(lambda x: F.softplus(-x), F.softplus, real_logits, fake_logits)


def logistic_generator_loss(fake_logits: Prediction) -> Tensor:
    r"""$\mathrm{softplus}(-D(\tilde x)) \ge 0$: logistic, non-saturating.

    Args:
        fake_logits: of generated images.
    """
    return _generator(lambda x: F.softplus(-x), fake_logits)


def hinge_discriminator_loss(real_logits: Prediction, fake_logits: Prediction) -> Tensor:
    r"""$\max(0, 1-D(x)) + \max(0, 1+D(\tilde x)) \ge 0$.

    Args:
        real_logits: of real images.
        fake_logits: of generated images.

    Example:
        >>> hinge_discriminator_loss(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0]))
        tensor(0.7500)

    References:
        J. H. Lim, J. C. Ye, "Geometric GAN", 2017, arXiv:1705.02894; T. Miyato et al., "Spectral
        Normalization for GANs", ICLR 2018, eq. (16), arXiv:1802.05957.
    """
    return _discriminator(
        lambda x: F.relu(1 - x), lambda x: F.relu(1 + x), real_logits, fake_logits
    )


def hinge_generator_loss(fake_logits: Prediction) -> Tensor:
    r"""$-\overline{D(\tilde x)}$, unbounded: the generator has no margin.

    Args:
        fake_logits: of generated images.
    """
    return wgan_generator_loss(fake_logits)


def smgan_discriminator_loss(
    real_logits: Prediction,
    fake_logits: Prediction,
    mask: Float[Tensor, "b 1 H W"],
    *,
    real_label: float = 1.0,
) -> Tensor:
    r"""$\overline{(D(x)-1)^2} + \overline{(D(\tilde x)-b(m))^2} \ge 0$, b the blur of the mask.

    Args:
        real_logits: a patch discriminator's, of real images.
        fake_logits: of filled images.
        mask: 1 in the hole, 0 outside.
        real_label: label of real images.

    References:
        As `smgan_loss`.
    """
    label = partial(smgan_loss, mask=mask, is_disc=True, real_label=real_label)
    return _discriminator(
        partial(label, target_is_real=True),
        partial(label, target_is_real=False),
        real_logits,
        fake_logits,
    )


def smgan_generator_loss(
    fake_logits: Prediction,
    mask: Float[Tensor, "b 1 H W"],
    *,
    real_label: float = 1.0,
    elementwise: bool = False,
) -> Tensor:
    r"""$(D(\tilde x) - 1)^2 \ge 0$, averaged over the hole if ``elementwise``, or else over all.

    Args:
        fake_logits: a patch discriminator's, of filled images.
        mask: 1 in the hole, 0 outside.
        real_label: what the generator wants them to be.
        elementwise: as in the paper; see `smgan_loss`.
    """
    wanted = partial(
        smgan_loss, target_is_real=True, mask=mask, real_label=real_label, elementwise=elementwise
    )
    return _generator(wanted, fake_logits)
