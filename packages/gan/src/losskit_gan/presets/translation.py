"""Presets of image-to-image translation."""

from __future__ import annotations

from losskit_gan.presets.sources import Config, Source, from_sources
from losskit_gan.presets.terms import adam, config, gan, pixel

_AUTHORS = "authors' {} (github.com/junyanz/pytorch-CycleGAN-and-pix2pix)"


@from_sources(
    Source(
        "gan_loss L1Loss discriminator_steps",
        _AUTHORS.format("models/pix2pix_model.py"),
        note="it halves the discriminator's loss, which Adam does not notice",
    ),
    Source(
        "optimizer",
        _AUTHORS.format("options/train_options.py"),
        note="it lets lr fall to 0 in the second half; MMagic's pix2pix configs: constant",
    ),
)
def pix2pix(pixel_loss_weight: float = 100.0) -> Config:
    """Cross-entropy and L1 on pairs.

    The paper halves the discriminator's loss, which Adam does not notice.

    Args:
        pixel_loss_weight: the paper's λ = 100.

    References:
        Isola et al., CVPR 2017, arXiv:1611.07004, sections 3.1 and 3.3.
    """
    return config(gan("vanilla"), adam(2e-4, (0.5, 0.999)), gen=[pixel(pixel_loss_weight)])


@from_sources(
    Source(
        "gan_loss loss_cycle discriminator_steps",
        _AUTHORS.format("models/cycle_gan_model.py"),
        note="it halves the discriminator's loss; MMagic's cyclegan configs: loss_cycle 10 too",
    ),
    Source(
        "loss_id",
        "MMagic's cyclegan_lsgan-resnet-in_1xb1-80kiters_facades",
        note="the authors' code multiplies its 0.5 by the cycle's weight, which makes 5",
    ),
    Source(
        "optimizer",
        _AUTHORS.format("options/train_options.py"),
        note="lr falls to 0 in the second half",
    ),
)
def cyclegan(cycle_loss_weight: float = 10.0, id_loss_weight: float = 0.5) -> Config:
    """LSGAN, cycle consistency and identity mapping, for both directions.

    Besides the usual outputs a generator step must supply ``real_a``, ``real_b``, the cycled
    ``rec_a``, ``rec_b``, and the identities ``id_a``, ``id_b``: a training loop with two generators
    does; ``losskit train`` has one. Build a ``GANObjective`` of this config for each direction,
    the second without its cycles and identities, or leave them out of both by weights of 0.

    Args:
        cycle_loss_weight: the paper's λ = 10.
        id_loss_weight: MMagic's 0.5; the paper's is 0.5 λ.

    References:
        Zhu et al., ICCV 2017, arXiv:1703.10593, sections 3.3, 4 and 5.2.
    """
    terms: list[Config | None] = []
    for side in ("a", "b"):
        real = f"real_{side}"
        terms += [
            pixel(cycle_loss_weight, name="loss_cycle", pred=f"rec_{side}", target=real),
            pixel(id_loss_weight, name="loss_id", pred=f"id_{side}", target=real),
        ]
    return config(gan("lsgan"), adam(2e-4, (0.5, 0.999)), gen=terms)
