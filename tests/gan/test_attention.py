"""Networks with attention: torch's fused kernels have no second derivative, and are gone round."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_gan.penalties.dragan import dragan_penalty
from losskit_gan.penalties.gradient_penalty import gradient_penalty_loss
from losskit_gan.penalties.path_length import GeneratorPathRegularizer, path_lengths
from losskit_gan.penalties.r1 import r1_penalty

REAL, FAKE = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
PENALTIES = {
    "R1": lambda net: r1_penalty(net, REAL, norm_mode="HWC"),
    "WGAN-GP": lambda net: gradient_penalty_loss(net, REAL, FAKE, norm_mode="HWC"),
    "DRAGAN": lambda net: dragan_penalty(net, REAL),
}


class Plain(nn.Module):
    """``nn.MultiheadAttention`` written out as two matrix products."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens):
        packed, heads = self.attention, self.attention.num_heads
        projected = tokens @ packed.in_proj_weight.T + packed.in_proj_bias
        query, key, value = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1)
        )
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        return packed.out_proj((weights @ value).transpose(1, 2).flatten(2))


class Fused(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Judge(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 16, 4, 4), body, nn.Linear(16, 1)

    def forward(self, images):
        return self.head(self.body(self.stem(images).flatten(2).transpose(1, 2)).mean(1))


class Painter(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.mapping, self.body, self.image = nn.Linear(4, 64), body, nn.Linear(16, 48)

    def forward(self, noise, num_batches=2, return_latents=True):
        latents = self.mapping(torch.linspace(-1, 1, 4 * num_batches).view(num_batches, 4))
        tokens = self.image(self.body(latents.unflatten(1, (4, 16))))
        return {"fake_img": tokens.reshape(num_batches, 3, 8, 8), "latent": latents}


class Latent(Painter):
    """A painter in the trainer's terms: noise in, images and latents out."""

    latent_dim = 4

    def forward(self, noise, return_latents=False):
        latents = self.mapping(noise)
        tokens = self.image(self.body(latents.unflatten(1, (4, 16))))
        images = tokens.reshape(len(noise), 3, 8, 8)
        return {"fake_img": images, "latent": latents} if return_latents else images


def _pair(network):
    """One network with torch's attention and with attention written out, with the same weights."""
    torch.manual_seed(0)
    fused = network(Fused(nn.MultiheadAttention(16, 4, batch_first=True)))
    plain = copy.deepcopy(fused)
    plain.body = Plain(plain.body.attention)
    return fused, plain


def _encoder():
    return nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)


def _value_and_gradients(loss, network):
    torch.manual_seed(1)
    value = loss(network)
    value.backward()
    return value.detach(), [p.grad for p in network.parameters()]


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_equal_those_of_attention_written_out(name):
    fused, plain = _pair(Judge)
    got = _value_and_gradients(PENALTIES[name], fused)
    want = _value_and_gradients(PENALTIES[name], plain)
    torch.testing.assert_close(got, want)
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in got[1])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_of_a_transformer_encoder(name, training):
    torch.manual_seed(0)
    network = Judge(_encoder()).train(training)
    got = _value_and_gradients(PENALTIES[name], network)
    reference = copy.deepcopy(network)
    reference.zero_grad()
    with sdpa_kernel(SDPBackend.MATH):
        want = _value_and_gradients(PENALTIES[name], reference)
    torch.testing.assert_close(got, want)


def test_path_length_of_a_generator_with_attention():
    fused, plain = _pair(Painter)

    def loss(generator):
        return GeneratorPathRegularizer()(generator, 2)

    torch.testing.assert_close(_value_and_gradients(loss, fused), _value_and_gradients(loss, plain))


def test_given_images_of_a_fused_kernel_are_refused_with_what_to_do():
    torch.manual_seed(0)
    generator, penalty = Painter(_encoder()), GeneratorPathRegularizer()
    made = generator(None)
    with pytest.raises(ValueError, match=r"no second derivative .*SDPBackend.MATH") as caught:
        penalty(fake_imgs=made["fake_img"], latents=made["latent"])
    assert "\n" not in str(caught.value)
    path_lengths(made["fake_img"], made["latent"])  # to look at, they need no second derivative
    with sdpa_kernel(SDPBackend.MATH):
        made = generator(None)
    penalty(fake_imgs=made["fake_img"], latents=made["latent"]).backward()
    assert generator.body.self_attn.in_proj_weight.grad.abs().max() > 0


def test_a_model_makes_the_images_of_a_path_length_without_fused_kernels():
    torch.manual_seed(0)
    penalty = {
        "type": "GeneratorPathRegularizer",
        "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
    }
    trained = []
    for generator in _pair(Latent):
        model = GANWithCustomizedLoss(generator, None, None, gen_auxiliary_loss=penalty)
        before = copy.deepcopy(generator.state_dict())
        torch.manual_seed(1)
        model.train_step(
            {"real_imgs": REAL}, {"generator": torch.optim.SGD(generator.parameters(), 1.0)}
        )
        assert not torch.equal(before["image.weight"], generator.image.weight)
        trained.append([parameter.detach() for parameter in generator.parameters()])
    torch.testing.assert_close(*trained)


@pytest.mark.parametrize("player", ["generator", "path"])
def test_attention_stays_fused_where_gradients_are_taken_once(player, monkeypatch):
    """Adaptive weights differentiate the pass once: the fused kernel's memory is not given up."""
    torch.manual_seed(0)
    fused, _ = _pair(Latent)
    kernels = []
    flash = torch.backends.cuda.flash_sdp_enabled
    fused.register_forward_hook(lambda *_: kernels.append(flash()))
    adaptive = {
        "type": "L1Loss",
        "loss_weight": {"adaptive": {"reference": "loss_gen", "wrt": "pred"}},
    }
    path = {
        "type": "GeneratorPathRegularizer",
        "data_info": {"fake_imgs": "fake_imgs", "latents": "latents"},
    }
    model = GANWithCustomizedLoss(
        fused,
        nn.Sequential(nn.Flatten(), nn.Linear(192, 1)),
        {"type": "GANLoss", "gan_type": "hinge"},
        gen_auxiliary_loss=adaptive if player == "generator" else path,
    )
    model.generator_outputs({"real_imgs": REAL})
    assert kernels == [player == "generator"]


def test_attention_before_the_latents_is_no_hindrance():
    torch.manual_seed(0)
    encoder, image = _encoder(), nn.Linear(16, 48)
    latents = encoder(torch.randn(2, 4, 16))
    images = image(latents.sin()).reshape(2, 3, 8, 8)
    GeneratorPathRegularizer()(fake_imgs=images, latents=latents).backward()
    assert image.weight.grad.abs().max() > 0


def test_the_choice_of_kernels_is_the_callers_again_afterwards():
    before = torch.backends.cuda.flash_sdp_enabled()
    r1_penalty(_pair(Judge)[0], REAL)
    assert torch.backends.cuda.flash_sdp_enabled() is before
    with pytest.raises(RuntimeError, match="stop"):
        r1_penalty(lambda images: (_ for _ in ()).throw(RuntimeError("stop")), REAL)
    assert torch.backends.cuda.flash_sdp_enabled() is before
