"""Presets of generators that start from noise."""

from __future__ import annotations

from losskit_gan.presets.sources import Config, Source, from_sources
from losskit_gan.presets.terms import adam, config, disc_shift, gan, gradient_penalty, r1

_WGAN_GP = "authors' {} (github.com/igul222/improved_wgan_training)"
_PGGAN = "authors' config.py, Theano version (github.com/tkarras/progressive_growing_of_gans)"
_STYLEGAN2 = "authors' {} (github.com/NVlabs/stylegan2)"
_STYLEGAN3 = "authors' {} (github.com/NVlabs/stylegan3)"
_R3GAN = "authors' {} (github.com/brownvc/R3GAN)"
_OWN_UPDATE = (
    "the authors make a penalty an update of its own, and for that multiply lr, and raise betas to "
    "the power, of interval / (interval + 1); here it joins its step's update"
)


@from_sources(
    Source(
        "gan_loss optimizer discriminator_steps",
        "authors' main.lua (github.com/soumith/dcgan.torch)",
        note="beta2 is Adam's default; MMagic's dcgan_1xb128-300kiters_celeba-cropped-64 has the same",
    ),
)
def dcgan() -> Config:
    """Cross-entropy for both players.

    References:
        Radford et al., ICLR 2016, arXiv:1511.06434, section 4.
    """
    return config(gan("vanilla"), adam(2e-4, (0.5, 0.999)))


@from_sources(
    Source(
        "gan_loss",
        "Mao et al., eq. (9), without its 1/2, which doubles the loss: Adam does not notice",
        "second hand",
        "read in gan_64x64.py of github.com/igul222/improved_wgan_training, which halves one player's",
    ),
    Source(
        "optimizer discriminator_steps",
        "authors' train_lsun.py (github.com/xudonmao/LSGAN)",
        note="beta2 is Adam's default; MMagic's lsgan configs: lr 1e-4 or 1e-3, betas (0.5, 0.99)",
    ),
)
def lsgan() -> Config:
    """Squared distances to the labels 1 and 0.

    References:
        Mao et al., ICCV 2017, arXiv:1611.04076, eq. (9), without its ½.
    """
    return config(gan("lsgan"), adam(1e-3, (0.5, 0.999)))


@from_sources(
    Source(
        "gan_loss GradientPenaltyLoss.loss_weight discriminator_steps",
        _WGAN_GP.format("gan_cifar_resnet.py"),
        note="the paper's algorithm 1; MMagic's wgan-gp configs have the same",
    ),
    Source(
        "optimizer",
        _WGAN_GP.format("gan_64x64.py"),
        note="gan_cifar_resnet.py: lr 2e-4, falling to 0; MMagic's wgan-gp configs: betas (0.5, 0.9)",
    ),
)
def wgan_gp(gp_norm_mode: str = "HWC", gp_loss_weight: float = 10.0) -> Config:
    """Wasserstein critic under a gradient penalty.

    Args:
        gp_norm_mode: ``"HWC"``, the paper's, or ``"pixel"``.
        gp_loss_weight: the paper's λ = 10.

    References:
        Gulrajani et al., NeurIPS 2017, arXiv:1704.00028, algorithm 1.
    """
    return config(
        gan("wgan"),
        adam(1e-4, (0.0, 0.9), discriminator_steps=5),
        disc=[gradient_penalty(gp_loss_weight, gp_norm_mode)],
    )


@from_sources(
    Source(
        "gan_loss GradientPenaltyLoss.loss_weight optimizer discriminator_steps",
        _PGGAN,
        note="its baseline is appendix A.1 of the paper; MMagic's pggan configs have the same",
    ),
    Source(
        "loss_disc_shift loss_disc_shift_fake",
        "MMagic's pggan.py",
        note=f"{_PGGAN} has epsilon_drift 0.001, all of it for real logits",
    ),
)
def pggan(
    gp_norm_mode: str = "HWC", gp_loss_weight: float = 10.0, disc_shift_weight: float = 0.001
) -> Config:
    """WGAN-GP with a penalty on the discriminator's drift.

    MMagic shares the drift's weight between real and generated logits; the paper has real ones only.

    Args:
        gp_norm_mode: ``"HWC"`` or ``"pixel"``.
        gp_loss_weight: λ = 10.
        disc_shift_weight: the paper's ε_drift = 0.001.

    References:
        Karras et al., ICLR 2018, arXiv:1710.10196, appendix A.1.
    """
    return config(
        gan("wgan"),
        adam(1e-3, (0.0, 0.99)),
        disc=[
            disc_shift(disc_shift_weight / 2, "disc_pred_fake"),
            disc_shift(disc_shift_weight / 2, "disc_pred_real"),
            gradient_penalty(gp_loss_weight, gp_norm_mode),
        ],
    )


@from_sources(
    Source(
        "gan_loss optimizer discriminator_steps",
        "authors' sn_cifar10_unconditional.yml (github.com/pfnet-research/sngan_projection)",
        note="it lets lr fall to 0; MMagic's sngan_proj configs: betas (0.5, 0.999)",
    ),
)
def sngan() -> Config:
    """Hinge loss; the Lipschitz bound is the network's spectral normalisation.

    References:
        Miyato et al., ICLR 2018, arXiv:1802.05957, eq. (16) and (17).
    """
    return config(gan("hinge"), adam(2e-4, (0.0, 0.9), discriminator_steps=5))


@from_sources(
    Source(
        "gan_loss optimizer discriminator_steps",
        "authors' launch_BigGAN_bs256x8.sh (github.com/ajbrock/BigGAN-PyTorch)",
        note="for batches of 2048; MMagic's biggan configs for ImageNet have the same. The paper's "
        "appendix C, not read for this: 2 steps, lr 5e-5 and 2e-4",
    ),
)
def biggan() -> Config:
    """Hinge loss.

    References:
        Brock et al., ICLR 2019, arXiv:1809.11096, section 3 and appendix C.
    """
    return config(gan("hinge"), adam(None, (0.0, 0.999), generator_lr=1e-4, discriminator_lr=4e-4))


@from_sources(
    Source("R1GradientPenalty.loss_weight", _STYLEGAN2.format("run_training.py and loss.py")),
    Source(
        "R1GradientPenalty.interval GeneratorPathRegularizer.interval",
        _STYLEGAN2.format("training_loop.py"),
        note="MMagic's stylegan2_c2 configs have the same; appendix B of the paper has 8 for path "
        "lengths, not read for this",
    ),
    Source(
        "gan_loss GeneratorPathRegularizer.loss_weight GeneratorPathRegularizer.pl_batch_shrink",
        _STYLEGAN2.format("loss.py"),
    ),
    Source("optimizer discriminator_steps", _STYLEGAN2.format("run_training.py"), note=_OWN_UPDATE),
)
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
    the defaults do.

    Args:
        r1_loss_weight: γ/2 times the interval; γ = 10.
        r1_interval: steps between two R1 penalties.
        norm_mode: ``"HWC"``, the paper's, or ``"pixel"``.
        g_reg_interval: steps between two path length penalties.
        g_reg_weight: 2 times the interval.
        pl_batch_shrink: path lengths of a batch this many times smaller.

    References:
        Karras et al., CVPR 2020, arXiv:1912.04958, sections 3.1 and 3.2 and appendix B.
    """
    return config(
        gan("wgan-logistic-ns"),
        adam(2e-3, (0.0, 0.99)),
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


@from_sources(
    Source(
        "R1GradientPenalty.loss_weight",
        _STYLEGAN3.format("docs/configs.md"),
        note="gamma 32.8 is the paper's at 1024x1024; recommended: 32 there, 8 at 512, 2 at 256, 0.5 "
        "at 128",
    ),
    Source("R1GradientPenalty.interval", _STYLEGAN3.format("training_loop.py")),
    Source(
        "gan_loss optimizer discriminator_steps", _STYLEGAN3.format("train.py"), note=_OWN_UPDATE
    ),
)
def stylegan3(
    r1_loss_weight: float = 32.8 / 2.0 * 16, r1_interval: int = 16, norm_mode: str = "HWC"
) -> Config:
    """Logistic loss and lazy R1, without path lengths.

    Args:
        r1_loss_weight: γ/2 times the interval. γ = 32.8 is the paper's at 1024 × 1024; the authors
            recommend 32 there, 8 at 512, 2 at 256 and 0.5 at 128: a quarter for half the side.
        r1_interval: steps between two penalties.
        norm_mode: ``"HWC"`` or ``"pixel"``.

    References:
        Karras et al., NeurIPS 2021, arXiv:2106.12423.
    """
    return config(
        gan("wgan-logistic-ns"),
        adam(None, (0.0, 0.99), generator_lr=2.5e-3, discriminator_lr=2e-3),
        disc=[r1(r1_loss_weight, r1_interval, norm_mode)],
    )


@from_sources(
    Source(
        "gan_loss R1GradientPenalty R2GradientPenalty",
        _R3GAN.format("Trainer.py, and train.py for gamma, FFHQ-64"),
        "in a copy",
        "FFHQ-256: gamma 150; ImageNet-32: 0.5; ImageNet-64: 1; each falls to a tenth",
    ),
    Source(
        "optimizer discriminator_steps",
        _R3GAN.format("train.py, FFHQ-64"),
        "in a copy",
        "lr falls to 5e-5, beta2 rises to 0.99",
    ),
)
def r3gan(gamma: float = 2.0) -> Config:
    """Paired relativistic loss with R1 and R2, both at every step.

    The authors let the learning rate fall from 2e-4 to 5e-5, and betas rise from (0, 0.9) to
    (0, 0.99); a training config keeps betas as they begin.

    Args:
        gamma: γ of both penalties, which have γ/2. It depends on the data more than anything else:
            the authors start from 0.05 (CIFAR-10), 0.5 (ImageNet-32), 1 (ImageNet-64), 2 (FFHQ-64),
            150 (FFHQ-256), and let it fall to a tenth. A discriminator that stays at log 2 wants a
            smaller one.

    References:
        Huang et al., NeurIPS 2024, arXiv:2501.05441, eq. (2) and section 3.
    """
    fake = {"discriminator": "disc", "fake_data": "fake_imgs"}
    r2 = {**r1(gamma / 2, 1), "type": "R2GradientPenalty", "data_info": fake}
    return config(
        {"type": "RelativisticGANLoss", "kind": "rpgan", "loss_weight": 1.0},
        adam(2e-4, (0.0, 0.9)),
        disc=[r1(gamma / 2, 1), r2],
    )
