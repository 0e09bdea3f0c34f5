"""Presets of generators that start from noise."""

from __future__ import annotations

from losskit_gan.presets.terms import Config, config, disc_shift, gan, gradient_penalty, r1


def dcgan() -> Config:
    """Cross-entropy for both players.

    Train with Adam, lr 2e-4, betas (0.5, 0.999).

    References:
        Radford et al., ICLR 2016, arXiv:1511.06434, section 4; MMagic's dcgan configs have the same.
    """
    return config(gan("vanilla"))


def lsgan() -> Config:
    """Squared distances to the labels 1 and 0.

    References:
        Mao et al., ICCV 2017, arXiv:1611.04076, eq. (9), without its ½, which doubles the loss: Adam
        does not notice.
    """
    return config(gan("lsgan"))


def wgan_gp(gp_norm_mode: str = "HWC", gp_loss_weight: float = 10.0) -> Config:
    """Wasserstein critic under a gradient penalty.

    Train with 5 discriminator steps per generator step, Adam, lr 1e-4, betas (0, 0.9).

    Args:
        gp_norm_mode: ``"HWC"``, the paper's, or ``"pixel"``.
        gp_loss_weight: the paper's λ = 10.

    References:
        Gulrajani et al., NeurIPS 2017, arXiv:1704.00028, algorithm 1. MMagic's wgan-gp configs have
        the same but for betas (0.5, 0.9).
    """
    return config(gan("wgan"), disc=[gradient_penalty(gp_loss_weight, gp_norm_mode)])


def pggan(
    gp_norm_mode: str = "HWC", gp_loss_weight: float = 10.0, disc_shift_weight: float = 0.001
) -> Config:
    """WGAN-GP with a penalty on the discriminator's drift.

    MMagic shares the drift's weight between real and generated logits; the paper has real ones only.
    Train with Adam, lr 0.001, betas (0, 0.99).

    Args:
        gp_norm_mode: ``"HWC"`` or ``"pixel"``.
        gp_loss_weight: λ = 10.
        disc_shift_weight: the paper's ε_drift = 0.001.

    References:
        Karras et al., ICLR 2018, arXiv:1710.10196, appendix A.1; λ and ε_drift of the authors'
        loss.py, Adam's numbers of MMagic's pggan configs.
    """
    return config(
        gan("wgan"),
        disc=[
            disc_shift(disc_shift_weight / 2, "disc_pred_fake"),
            disc_shift(disc_shift_weight / 2, "disc_pred_real"),
            gradient_penalty(gp_loss_weight, gp_norm_mode),
        ],
    )


def sngan() -> Config:
    """Hinge loss; the Lipschitz bound is the network's spectral normalisation.

    Train with 5 discriminator steps per generator step, Adam, lr 2e-4, betas (0, 0.9).

    References:
        Miyato et al., ICLR 2018, arXiv:1802.05957, eq. (16) and (17); numbers of the authors'
        sn_cifar10_unconditional.yml (MMagic's sngan_proj has betas (0.5, 0.999)).
    """
    return config(gan("hinge"))


def biggan() -> Config:
    """Hinge loss.

    Train with 2 discriminator steps per generator step, Adam, lr 5e-5 for the generator and 2e-4
    for the discriminator, betas (0, 0.999).

    References:
        Brock et al., ICLR 2019, arXiv:1809.11096, section 3 and appendix C. The authors' PyTorch
        code and MMagic's biggan configs take one step each, lr 1e-4 and 4e-4.
    """
    return config(gan("hinge"))


def stylegan2(
    r1_loss_weight: float = 10.0 / 2.0 * 16,
    r1_interval: int = 16,
    norm_mode: str = "HWC",
    g_reg_interval: int = 4,
    g_reg_weight: float = 2.0 * 4,
    pl_batch_shrink: int = 2,
) -> Config:
    """Logistic loss, lazy R1 and lazy path length regularisation.

    The weights are those of the steps on which a penalty is computed: multiply by the interval, as
    the defaults do. Train with Adam, lr 0.002, betas (0, 0.99); for a player with a penalty at every
    k-th step the authors multiply lr, and raise the betas to the power, of k / (k + 1).

    Args:
        r1_loss_weight: γ/2 times the interval; γ = 10.
        r1_interval: steps between two R1 penalties.
        norm_mode: ``"HWC"``, the paper's, or ``"pixel"``.
        g_reg_interval: steps between two path length penalties.
        g_reg_weight: 2 times the interval.
        pl_batch_shrink: path lengths of a batch this many times smaller.

    References:
        Karras et al., CVPR 2020, arXiv:1912.04958, sections 3.1 and 3.2 and appendix B (there every
        8th step for path lengths; the authors' code and MMagic's stylegan2_c2 configs have 4).
    """
    return config(
        gan("wgan-logistic-ns"),
        disc=[r1(r1_loss_weight, r1_interval, norm_mode)],
        gen=[
            {
                "type": "GeneratorPathRegularizer",
                "loss_weight": g_reg_weight,
                "interval": g_reg_interval,
                "pl_batch_shrink": pl_batch_shrink,
                "sync_mean_buffer": True,
                "data_info": {"generator": "gen", "num_batches": "batch_size"},
            }
        ],
    )


def stylegan3(
    r1_loss_weight: float = 32.8 / 2.0 * 16, r1_interval: int = 16, norm_mode: str = "HWC"
) -> Config:
    """Logistic loss and lazy R1, without path lengths.

    Train with Adam, betas (0, 0.99), lr 0.0025 for the generator and 0.002 for the discriminator.

    Args:
        r1_loss_weight: γ/2 times the interval. γ = 32.8 is the paper's at 1024 × 1024; the authors
            recommend 32 there, 8 at 512, 2 at 256 and 0.5 at 128: a quarter for half the side.
        r1_interval: steps between two penalties.
        norm_mode: ``"HWC"`` or ``"pixel"``.

    References:
        Karras et al., NeurIPS 2021, arXiv:2106.12423; γ of the authors' ``docs/configs.md``, learning
        rates of their ``train.py`` (github.com/NVlabs/stylegan3).
    """
    return config(gan("wgan-logistic-ns"), disc=[r1(r1_loss_weight, r1_interval, norm_mode)])


def r3gan(gamma: float = 2.0) -> Config:
    """Paired relativistic loss with R1 and R2, both at every step.

    Train with Adam, lr 2e-4 falling to 5e-5, betas (0, 0.9) rising to (0, 0.99).

    Args:
        gamma: γ of both penalties, which have γ/2. It depends on the data more than anything else:
            the authors start from 0.05 (CIFAR-10), 0.5 (ImageNet-32), 1 (ImageNet-64), 2 (FFHQ-64),
            150 (FFHQ-256), and let it fall to a tenth. A discriminator that stays at log 2 wants a
            smaller one.

    References:
        Huang et al., NeurIPS 2024, arXiv:2501.05441, eq. (2) and section 3; numbers of the presets
        in the authors' ``train.py`` (github.com/brownvc/R3GAN, read in copies of it).
    """
    fake = {"discriminator": "disc", "fake_data": "fake_imgs"}
    r2 = {**r1(gamma / 2, 1), "type": "R2GradientPenalty", "data_info": fake}
    return config(
        {"type": "RelativisticGANLoss", "kind": "rpgan", "loss_weight": 1.0},
        disc=[r1(gamma / 2, 1), r2],
    )
