"""Presets of image-to-image translation."""

from __future__ import annotations

from losskit_gan.presets.terms import Config, config, gan, pixel


def pix2pix(pixel_loss_weight: float = 100.0) -> Config:
    """Cross-entropy and L1 on pairs.

    Train with Adam, lr 2e-4, betas (0.5, 0.999). The paper halves the discriminator's loss, which
    Adam does not notice.

    Args:
        pixel_loss_weight: the paper's λ = 100.

    References:
        Isola et al., CVPR 2017, arXiv:1611.07004, sections 3.1 and 3.3; MMagic's pix2pix configs.
    """
    return config(gan("vanilla"), gen=[pixel(pixel_loss_weight)])


def cyclegan(cycle_loss_weight: float = 10.0, id_loss_weight: float = 0.5) -> Config:
    """LSGAN, cycle consistency and identity mapping, for both directions.

    Besides the usual outputs a generator step must supply ``real_a``, ``real_b``, the cycled
    ``rec_a``, ``rec_b``, and the identities ``id_a``, ``id_b``: a training loop with two generators
    does; ``losskit gan train`` has one. Build a ``GANObjective`` of this config for each direction,
    the second without its cycles and identities, or leave them out of both by weights of 0.
    Train with Adam, lr 2e-4, betas (0.5, 0.999).

    Args:
        cycle_loss_weight: the paper's λ = 10.
        id_loss_weight: MMagic's 0.5; the paper's is 0.5 λ.

    References:
        Zhu et al., ICCV 2017, arXiv:1703.10593, sections 3.3, 4 and 5.2; numbers of MMagic's cyclegan
        configs.
    """
    terms: list[Config | None] = []
    for side in ("a", "b"):
        real = f"real_{side}"
        terms += [
            pixel(cycle_loss_weight, name="loss_cycle", pred=f"rec_{side}", target=real),
            pixel(id_loss_weight, name="loss_id", pred=f"id_{side}", target=real),
        ]
    return config(gan("lsgan"), gen=terms)
