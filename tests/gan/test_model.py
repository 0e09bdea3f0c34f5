"""The guide's model against a training loop written by hand."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import losskit
from losskit.errors import ConfigError, MissingOutputError
from losskit_gan.model.accumulation import parts_of
from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_gan.model.generation import named_outputs


@losskit.register(name="LogisticForTest")
class LogisticForTest(nn.Module):
    def forward(self, input, target_is_real, is_disc=False):
        return F.softplus(-input if target_is_real else input).mean()


@losskit.register(name="RecorderForTest")
class RecorderForTest(nn.Module):
    """Writes down the outputs it is shown."""

    seen: ClassVar[list] = []

    def __init__(self, data_info=None):
        super().__init__()
        self.data_info = data_info

    def forward(self, outputs):
        RecorderForTest.seen.append(dict(outputs))
        return None


class Generator(nn.Module):
    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 8)

    def forward(self, noise, return_latents=False):
        image = self.layer(noise).reshape(-1, 2, 2, 2)
        return (image, noise) if return_latents else image


def discriminator():
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1))


def make(seed=0, **arguments):
    torch.manual_seed(seed)
    model = GANWithCustomizedLoss(
        Generator(), discriminator(), {"type": "LogisticForTest", "loss_weight": 0.5}, **arguments
    )
    optimizers = {
        "generator": torch.optim.SGD(model.generator.parameters(), 0.1),
        "discriminator": torch.optim.SGD(model.discriminator.parameters(), 0.1),
    }
    return model, optimizers


def real(n=4):
    return torch.randn(n, 2, 2, 2, generator=torch.Generator().manual_seed(1))


def test_a_step_equals_the_loop_written_by_hand():
    model, optimizers = make()
    gen, disc = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    gen_optimizer = torch.optim.SGD(gen.parameters(), 0.1)
    disc_optimizer = torch.optim.SGD(disc.parameters(), 0.1)
    torch.manual_seed(7)
    for _ in range(3):
        logs = model.train_step({"real_imgs": real()}, optimizers)
    torch.manual_seed(7)
    for _ in range(3):
        fake = gen(torch.randn(4, 3)).detach()
        loss = F.softplus(disc(fake)).mean() + F.softplus(-disc(real())).mean()
        disc_optimizer.zero_grad()
        loss.backward()
        disc_optimizer.step()
        gen_loss = 0.5 * F.softplus(-disc(gen(torch.randn(4, 3)))).mean()
        gen_optimizer.zero_grad()
        gen_loss.backward()
        gen_optimizer.step()
    for ours, theirs in ((model.generator, gen), (model.discriminator, disc)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(logs["total_disc"], loss.detach())
    torch.testing.assert_close(logs["loss_gen"], gen_loss.detach())


def test_the_outputs_are_the_guides():
    RecorderForTest.seen = []
    recorder = {"type": "RecorderForTest", "data_info": {"pred": "disc_pred_real"}}
    model, optimizers = make(disc_auxiliary_loss=recorder, gen_auxiliary_loss=recorder)
    model.train_step({"real_imgs": real(), "lq": real()}, optimizers)
    disc, gen = RecorderForTest.seen
    guide = {
        "iteration",
        "batch_size",
        "gen",
        "disc",
        "disc_pred_fake",
        "disc_pred_real",
        "fake_imgs",
        "real_imgs",
    }
    for outputs in (disc, gen):
        assert guide | {"latents", "pred", "target", "lq", "noise"} <= set(outputs)
        assert outputs["gen"] is model.generator
        assert outputs["disc"] is model.discriminator
        assert (outputs["iteration"], outputs["batch_size"]) == (0, 4)
    assert not disc["fake_imgs"].requires_grad
    assert gen["fake_imgs"].requires_grad
    assert gen["disc_pred_fake_g"] is gen["disc_pred_fake"]
    assert all(p.requires_grad for p in model.parameters())


def test_any_auxiliary_loss_by_config_alone():
    model, optimizers = make(
        disc_auxiliary_loss=[
            {"type": "MSELoss", "data_info": {"pred": "disc_pred_real", "target": "disc_pred_fake"}}
        ],
        gen_auxiliary_loss=[{"type": "L1Loss", "loss_weight": 2.0}],
    )
    logs = model.train_step(real(), optimizers)
    assert {"loss_mse", "loss_l1"} <= set(logs)


def test_steps_of_each_player_and_what_their_schedules_count():
    RecorderForTest.seen = []
    recorder = {"type": "RecorderForTest", "data_info": {"pred": "disc_pred_fake"}}
    model, optimizers = make(gen_auxiliary_loss=recorder, discriminator_steps=2, generator_steps=3)
    turns = ["total_gen" in model.train_step(real(), optimizers) for _ in range(4)]
    assert turns == [False, True, False, True]
    assert [outputs["iteration"] for outputs in RecorderForTest.seen] == [0, 1, 2, 3, 4, 5]


def test_what_is_per_sample_is_cut_and_nothing_else():
    draw = torch.Generator().manual_seed(0)
    pyramid = [torch.randn(4, 3, 8 // 2**i, 8 // 2**i, generator=draw) for i in range(4)]
    pair = (torch.arange(4), torch.arange(8).view(4, 2))
    weights = [torch.randn(3, generator=draw) for _ in range(4)]  # four layers'
    boxes = [torch.zeros(n, 4) for n in (2, 4, 1, 3)]
    nested = [[torch.zeros(4, 2)], [torch.zeros(4, 2)], [], []]
    batch = {
        "real_imgs": torch.randn(4, 3, 8, 8, generator=draw),
        "pyramid": pyramid,
        "pair": pair,
        "captions": ["a", "b", "c", "d"],
        "numbers": (1, 2.0, 3, None),
        "labels": torch.tensor([5, 6, 7, 8]),
        "scalar": torch.tensor(2.0),
        "empty": [],
        "two": ["for", "all"],
        "title": "four",
        "weights": weights,
        "boxes": boxes,
        "nested": nested,
        "classes": torch.ones(1, 4),
    }
    parts = list(parts_of(batch, 2))
    for index, part in enumerate(parts):
        own = slice(2 * index, 2 * index + 2)
        assert list(part) == list(batch)
        for level, whole in zip(part["pyramid"], pyramid, strict=True):
            assert torch.equal(level, whole[own])
        assert isinstance(part["pair"], tuple)
        assert [t.tolist() for t in part["pair"]] == [t[own].tolist() for t in pair]
        for key in ("captions", "numbers"):
            assert part[key] == batch[key][own]
        assert part["labels"].tolist() == [5, 6, 7, 8][own]
        for key in ("scalar", "empty", "two", "title", "weights", "boxes", "nested", "classes"):
            assert part[key] is batch[key]


def test_accumulation_gives_the_whole_batchs_update():
    data = {"real_imgs": real(), "noise": torch.randn(4, 3)}
    results = []
    for accumulate in (1, 2, 4):
        model, optimizers = make(accumulate=accumulate)
        logs = model.train_step(data, optimizers)
        results.append([logs["total_disc"], logs["loss_gen"], *model.parameters()])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])
    model, optimizers = make(accumulate=3)
    with pytest.raises(ValueError, match="a batch of 4 cannot be cut into accumulate=3"):
        model.train_step(data, optimizers)


def test_averages_that_losses_keep_advance_once_whatever_the_parts():
    logits = {"real_logits": "disc_pred_real", "fake_logits": "disc_pred_fake"}
    path = {"fake_imgs": "fake_imgs", "latents": "latents", "noise": "y"}
    data = {"real_imgs": real(8), "noise": torch.randn(8, 3), "y": torch.randn(8, 2, 2, 2)}
    averages = []
    for accumulate in (1, 2, 4):
        model, optimizers = make(
            accumulate=accumulate,
            disc_auxiliary_loss={"type": "LeCamLoss", "data_info": logits, "loss_weight": 0.0},
            gen_auxiliary_loss={
                "type": "GeneratorPathRegularizer",
                "data_info": path,
                "interval": 2,
                "loss_weight": 0.0,
            },
        )
        data["noise"].requires_grad_()  # the latents, which images are differentiated by
        for _ in range(3):
            model.train_step(data, optimizers)
        state = model.objective.state_dict()
        averages.append({k: v for k, v in state.items() if not k.endswith("_extra_state")})
    assert {name.rpartition(".")[2] for name in averages[0]} == {
        "real_anchor",
        "fake_anchor",
        "updates",
        "mean_path_length",
    }
    assert all(bool((value != 0).all()) for value in averages[0].values())
    for other in averages[1:]:
        torch.testing.assert_close(other, averages[0])


def test_without_a_discriminator_the_generator_learns_alone():
    model = GANWithCustomizedLoss(
        nn.Conv2d(2, 2, 1), None, None, gen_auxiliary_loss={"type": "MSELoss"}, inputs=("lq",)
    )
    optimizers = {"generator": torch.optim.SGD(model.generator.parameters(), 0.1)}
    data = {"lq": real(), "target": real()}
    losses = [model.train_step(data, optimizers)["loss_mse"] for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_inpainting_judges_the_composed_image():
    model = GANWithCustomizedLoss(
        nn.Conv2d(2, 2, 1),
        discriminator(),
        {"type": "LogisticForTest"},
        inputs=("lq",),
        compose=True,
    )
    mask = torch.zeros(4, 1, 2, 2)
    mask[..., 0] = 1
    outputs = model.generator_outputs({"lq": real(), "target": real(), "mask": mask})
    torch.testing.assert_close(outputs["fake_imgs"][..., 1], real()[..., 1])
    torch.testing.assert_close(outputs["fake_imgs"][..., 0], outputs["pred"][..., 0])


def test_the_step_count_is_state():
    model, optimizers = make()
    model.train_step(real(), optimizers)
    other, _ = make(seed=3)
    other.load_state_dict(model.state_dict())
    assert other.iteration == 1


def test_wrong_use_says_so():
    with pytest.raises(ConfigError, match="need a discriminator"):
        GANWithCustomizedLoss(Generator(), None, {"type": "LogisticForTest"})
    with pytest.raises(ConfigError, match="Conv2d has no latent_dim"):
        GANWithCustomizedLoss(nn.Conv2d(1, 1, 1), discriminator(), {"type": "LogisticForTest"})
    with pytest.raises(ValueError, match="generator_steps must be"):
        make(generator_steps=0)
    model, optimizers = make()
    with pytest.raises(MissingOutputError, match="needs 'real_imgs' or 'target'"):
        model.train_step({"lq": real()}, optimizers)
    with pytest.raises(MissingOutputError, match="lacks 'discriminator'"):
        model.train_step(real(), {"generator": optimizers["generator"]})
    paired = GANWithCustomizedLoss(
        nn.Conv2d(2, 2, 1), None, None, gen_auxiliary_loss={"type": "L1Loss"}, inputs=("lq",)
    )
    with pytest.raises(MissingOutputError, match="takes 'lq', which is not in the batch"):
        paired.train_step(real(), optimizers)


def test_captions_are_cut_with_their_images() -> None:
    batch = {
        "real_imgs": torch.arange(4.0),
        "text": list("abcd"),
        "scale": [1.0, 2.0],
        "name": "four",
    }
    parts = list(parts_of(batch, 2))
    assert [part["text"] for part in parts] == [["a", "b"], ["c", "d"]]
    assert all(part["scale"] == [1.0, 2.0] and part["name"] == "four" for part in parts)


def test_what_a_generator_names_reaches_the_losses() -> None:
    class Naming(nn.Module):
        latent_dim = 2

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, noise: Tensor) -> dict[str, Tensor]:
            image = self.scale * noise[:, :1, None, None].expand(-1, 1, 4, 4)
            return {"fake_img": image, "coarse": image[..., ::2, ::2] + 1}

    pull = {"type": "L1Loss", "data_info": {"pred": "coarse", "target": "small"}}
    model = GANWithCustomizedLoss(Naming(), None, None, gen_auxiliary_loss=pull)
    batch = {"real_imgs": torch.zeros(3, 1, 4, 4), "small": torch.zeros(3, 1, 2, 2)}
    outputs = model.generator_outputs(batch)
    torch.testing.assert_close(outputs["coarse"], outputs["pred"][..., ::2, ::2] + 1)
    optimizers = {"generator": torch.optim.SGD(model.parameters(), 0.1)}
    torch.manual_seed(0)
    noise = torch.randn(3, 2)
    logs = model.train_step({**batch, "noise": noise}, optimizers)
    torch.testing.assert_close(logs["total_gen"], (noise[:, :1] + 1).abs().mean())
    with pytest.raises(MissingOutputError, match=r"lacks 'fake_img'.*; it has fake_imgs"):
        named_outputs({"fake_imgs": 1})
    for name in ("real_imgs", "disc", "pred", "small"):
        with pytest.raises(ConfigError, match=f"names '{name}', which losses know"):
            named_outputs({"fake_img": 1, name: 2}, batch)
