"""The reference networks: shapes, MMagic's protocol, gradients, bad arguments."""

from __future__ import annotations

import copy

import pytest
import torch

from losskit_gan.penalties.path_length import GeneratorPathRegularizer
from losskit_gan.penalties.r1 import r1_penalty
from losskit_train import networks
from losskit_train.networks import (
    DCGANGenerator,
    PatchDiscriminator,
    ResidualDiscriminator,
    StyleGenerator,
    SuperResolver,
)

SMALL = {"channels": 4, "max_channels": 8}


@pytest.mark.parametrize("size", [4, 8, 32])
@pytest.mark.parametrize("cls", [DCGANGenerator, StyleGenerator])
def test_generators_give_images(cls, size):
    generator = cls(image_size=size, latent_dim=6, out_channels=1, **SMALL)
    assert generator(torch.randn(3, generator.latent_dim)).shape == (3, 1, size, size)


def test_style_generator_follows_the_protocol():
    generator = StyleGenerator(image_size=16, latent_dim=6, **SMALL).eval()
    made = generator(None, num_batches=3, return_latents=True)
    assert set(made) == {"fake_img", "latent"}
    assert made["latent"].shape == (3, 6, 6)
    torch.testing.assert_close(generator.synthesize(made["latent"]), made["fake_img"])
    torch.testing.assert_close(made["latent"][:, 0], made["latent"][:, 5])
    GeneratorPathRegularizer()(generator, 4).backward()
    assert generator.mapping[0].weight.grad.norm() > 0


def test_every_layer_s_latent_matters():
    generator = StyleGenerator(image_size=16, latent_dim=6, **SMALL).eval()
    made = generator(None, num_batches=2, return_latents=True)
    (slopes,) = torch.autograd.grad(made["fake_img"].square().sum(), made["latent"])
    assert (slopes.norm(dim=2) > 0).all()


def test_demodulation_gives_unit_variance():
    generator = StyleGenerator(image_size=8, latent_dim=32, channels=64, max_channels=64).eval()
    conv = generator.blocks[0].conv1
    with torch.no_grad():
        conv.style.weight.mul_(20)  # strong styles, which demodulation must cancel
        x = torch.randn(64, 64, 8, 8)
        y = conv(x, torch.randn(64, 32))
    assert y[..., 1:-1, 1:-1].std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [4, 8, 32])
def test_residual_discriminator(size):
    net = ResidualDiscriminator(image_size=size, in_channels=2, **SMALL)
    images = torch.randn(3, 2, size, size)
    assert net(images).shape == (3, 1)
    torch.testing.assert_close(net(images)[:1], net(images[:1]))  # images are judged alone
    r1_penalty(net, images).backward()
    assert net.first.weight.grad.norm() > 0


def test_noise_decides_the_image_from_the_start():
    generator = StyleGenerator(image_size=16, latent_dim=64, mapping_layers=8).eval()
    with torch.no_grad():
        codes = generator(torch.randn(32, 64), return_latents=True)["latent"][:, 0]
        images = generator(torch.randn(32, 64))
    assert 0.5 < codes.square().mean().sqrt() < 2
    assert images.std(0).mean() > 0.2 * images.std()


def test_styles_too_large_for_half_precision():
    """Their squares overflow there, and one over infinity is a black image."""
    generator = StyleGenerator(image_size=8, latent_dim=6, **SMALL).eval()
    for module in generator.modules():
        if hasattr(module, "style"):
            torch.nn.init.constant_(module.style.bias, 400.0)
    codes = torch.randn(2, 4, 6)
    expected = generator.synthesize(codes)
    with torch.autocast("cpu", torch.float16):
        images = generator.synthesize(codes)
    assert (images - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("normalize", [False, True])
def test_patch_discriminator(normalize):
    net = PatchDiscriminator(channels=4, layers=2, normalize=normalize)
    features = copy.deepcopy(net)
    features.features = True
    net.eval(), features.eval()
    images = torch.randn(2, 3, 33, 32)
    outputs = features(images)
    assert len(outputs) == 4
    torch.testing.assert_close(outputs[-1], net(images))
    assert net(images).shape[1] == 1
    r1_penalty(net, images).backward()


def test_patch_sees_70_pixels():
    net = PatchDiscriminator(channels=2, layers=3)
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    logits = net(images)
    logits[0, 0, 7, 7].backward()
    seen = images.grad.abs().sum((0, 1))
    assert (seen.sum(1) > 0).sum() == (seen.sum(0) > 0).sum() == 70


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_super_resolver_starts_from_the_bicubic_image(scale):
    net = SuperResolver(scale=scale, channels=4, blocks=1)
    lq = torch.rand(1, 3, 6, 7)
    bicubic = torch.nn.functional.interpolate(lq, scale_factor=scale, mode="bicubic")
    assert net(lq).shape == bicubic.shape
    assert (net(lq) - bicubic).abs().mean() < 0.02
    net(lq).sum().backward()
    assert net.last_layer.grad.norm() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: StyleGenerator(image_size=12),
            r"image_size must be one of 4, 8, 16, 32, 64, \.\.\., not 12",
        ),
        (lambda: DCGANGenerator(image_size=2), "image_size must be one of"),
        (
            lambda: ResidualDiscriminator(channels=0),
            "channels must be a whole number of at least 1, not 0",
        ),
        (lambda: PatchDiscriminator(layers=0), "layers must be a whole number"),
        (lambda: SuperResolver(scale=0), "scale must be a whole number of at least 1, not 0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_exports():
    assert all(getattr(networks, name) for name in networks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'UNet'"):
        networks.UNet
