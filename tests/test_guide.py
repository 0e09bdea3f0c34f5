"""Every config of the MMagic guide builds and runs; so does a third party's class of its form."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import losskit
from losskit.discovery import registry
from losskit.errors import RangeWarning

GUIDE = Path(__file__).parents[2] / "shared" / "reference" / "mmagic-losses-guide.zh.md"

#: The guide's configs: model → config.
CONFIGS: dict[str, dict[str, Any]] = {
    "mse": {"type": "MSELoss", "loss_weight": 1.0, "reduction": "mean"},
    "disc shift, routed": {
        "type": "DiscShiftLoss",
        "loss_weight": 0.001 * 0.5,
        "data_info": {"pred": "disc_pred_real"},
    },
    "dic, vanilla": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.001},
    "lsgan": {"type": "GANLoss", "gan_type": "lsgan"},
    "deepfillv1, wgan": {"type": "GANLoss", "gan_type": "wgan", "loss_weight": 0.0001},
    "deepfillv2, hinge": {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 0.1},
    "aot-gan, smgan": {"type": "GANLoss", "gan_type": "smgan", "loss_weight": 0.01},
    "deepfillv1, penalty": {"type": "GradientPenaltyLoss", "loss_weight": 10.0},
    "deepfillv1, disc shift": {"type": "DiscShiftLoss", "loss_weight": 0.001},
    "clip": {
        "type": "CLIPLoss",
        "loss_weight": 1.0,
        "data_info": {"image": "fake_imgs", "text": "descriptions"},
    },
    "l1 composition": {"type": "L1CompositionLoss"},
    "mse composition": {"type": "MSECompositionLoss"},
    "dim, composition": {"type": "CharbonnierCompLoss", "loss_weight": 0.5},
    "face id": {"type": "FaceIdLoss", "loss_weight": 0.1},
    "dic, light cnn": {
        "type": "LightCNNFeatureLoss",
        "pretrained": "random",
        "loss_weight": 0.1,
        "criterion": "l1",
    },
    "gradient": {"type": "GradientLoss"},
    "dic, l1": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
    "dic, align": {"type": "MSELoss", "loss_weight": 0.1, "reduction": "mean"},
    "dim, alpha": {"type": "CharbonnierLoss", "loss_weight": 0.5},
    "partial conv, tv": {"type": "MaskedTVLoss", "loss_weight": 0.1},
    "real basicvsr, perceptual": {
        "type": "PerceptualLoss",
        "layer_weights": {"2": 0.1, "7": 0.1, "16": 1.0, "25": 1.0, "34": 1.0},
        "vgg_type": "vgg19",
        "perceptual_weight": 1.0,
        "style_weight": 0,
        "norm_img": False,
    },
    "ttsr, transferal": {
        "type": "TransferalPerceptualLoss",
        "loss_weight": 1e-2,
        "use_attention": False,
        "criterion": "mse",
    },
    # the components, each with the routes that GANWithCustomizedLoss gives it
    "components: shift": {"type": "DiscShiftLossComps", "data_info": {"pred": "disc_pred_real"}},
    "components: penalty": {
        "type": "GradientPenaltyLossComps",
        "loss_weight": 10.0,
        "norm_mode": "HWC",
        "data_info": {"discriminator": "disc", "real_data": "real_imgs", "fake_data": "fake_imgs"},
    },
    "components: r1": {
        "type": "R1GradientPenaltyComps",
        "loss_weight": 10.0 / 2.0 * 16,
        "interval": 16,
        "norm_mode": "HWC",
        "data_info": {"discriminator": "disc", "real_data": "real_imgs"},
    },
    "components: gan": {
        "type": "GANLossComps",
        "gan_type": "wgan-logistic-ns",
        "data_info": {"input": "disc_pred_fake_g", "target_is_real": True},
    },
    "components: path length": {
        "type": "GeneratorPathRegularizerComps",
        "loss_weight": 2.0 * 4,
        "interval": 4,
        "pl_batch_shrink": 2,
        "data_info": {"generator": "gen", "num_batches": "batch_size"},
    },
    "components: clip": {
        "type": "CLIPLossComps",
        "data_info": {"image": "fake_imgs", "text": "descriptions"},
    },
    "components: face id": {
        "type": "FaceIdLossComps",
        "data_info": {"pred": "fake_imgs", "gt": "real_imgs"},
    },
}
#: True weights cannot be had everywhere, so networks come with random ones, and small where they can.
RANDOM = {
    "PerceptualLoss": {"weights": "random"},
    "LightCNNFeatureLoss": {"weights": "random"},
    "FaceIdLoss": {"weights": "random"},
}


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.synthesis = nn.Linear(4, 4), nn.Linear(4, 3 * 16 * 16)

    def forward(self, noise=None, num_batches=2, return_latents=False):
        noise = torch.randn(num_batches, 4) if noise is None else noise
        latent = self.mapping(noise).unsqueeze(1).expand(-1, 2, -1)
        image = self.synthesis(latent.mean(1)).view(-1, 3, 16, 16).tanh()
        return {"fake_img": image, "latent": latent} if return_latents else image


@pytest.fixture
def outputs() -> dict[str, Any]:
    """What GANWithCustomizedLoss offers, and what the losses without routes take by their names."""
    disc = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Softplus(), nn.Conv2d(4, 1, 3, 2, 1))
    gen = Generator()
    fake, real = gen(torch.randn(2, 4)), torch.rand(2, 3, 16, 16)
    alpha = torch.rand(2, 1, 16, 16, requires_grad=True)
    levels = [(2, 16 // 2**i, 4 * 2**i, 4 * 2**i) for i in range(3)]  # coarsest first
    return {
        "iteration": 0,
        "batch_size": 2,
        "gen": gen,
        "disc": disc,
        "discriminator": disc,
        "disc_pred_fake": disc(fake.detach()),
        "disc_pred_fake_g": disc(fake),
        "disc_pred_real": disc(real),
        "fake_imgs": fake,
        "real_imgs": real,
        "fake_data": fake.detach(),
        "real_data": real,
        "pred": fake,
        "target": real,
        "input": disc(fake),
        "target_is_real": True,
        "image": fake,
        "text": ["a photograph of a cat"] * 2,
        "descriptions": ["a photograph of a cat"] * 2,
        "pred_alpha": alpha,
        "fg": torch.rand(2, 3, 16, 16),
        "bg": torch.rand(2, 3, 16, 16),
        "ori_merged": real,
        "maps": tuple(torch.rand(shape, requires_grad=True) for shape in levels),
        "textures": tuple(torch.rand(shape) for shape in levels),
        "soft_attention": torch.rand(2, 1, 4, 4),
        "mask": (torch.rand(2, 1, 16, 16) > 0.5).float(),
    }


def built(config: dict[str, Any]) -> losskit.Term:
    """The config's term; a loss that no installed plugin supplies is skipped, and says so."""
    try:
        spec = losskit.get_spec(config["type"])
    except losskit.errors.UnknownLossError as error:
        pytest.skip(str(error))
    random = {} if "pretrained" in config else RANDOM.get(spec.name, {})
    if spec.name == "CLIPLoss":
        random = {"model": importlib.import_module("losskit_clip.examples").tiny_clip()}
    if config.get("gan_type") == "smgan":  # its labels are made of the mask
        config = {**config, "data_info": {"mask": "mask"}}
    return losskit.build({**config, **random})


def checked(config: dict[str, Any], outputs: dict[str, Any]) -> None:
    term = built(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RangeWarning)  # the generator's tanh where [0, 1] is meant
        result = losskit.Objective([term])(outputs)
    assert torch.isfinite(result.total)
    assert result.logs
    result.total.backward()
    leaves = [*outputs["gen"].parameters(), *outputs["disc"].parameters()]
    leaves += [outputs["pred_alpha"], *outputs["maps"]]
    assert any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_the_guide(name: str, outputs: dict[str, Any]) -> None:
    checked(CONFIGS[name], outputs)


def _balanced(text: str, start: int) -> str:
    depth = 0
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0 and text[end] == ")":
            break
    return text[start : end + 1]


def _snippets() -> list[str]:
    """Every ``dict(type=...)`` of the guide, where the guide is at hand."""
    text = GUIDE.read_text(encoding="utf-8") if GUIDE.is_file() else ""
    found = (_balanced(text, match.start()) for match in re.finditer(r"dict\(\s*type=", text))
    return [code for code in found if "StyleGAN2" not in code]  # a model, not a loss


@pytest.mark.skipif(not GUIDE.is_file(), reason="the guide is not beside this checkout")
def test_the_guide_has_the_configs_that_are_tested_here() -> None:
    assert len(_snippets()) == 16


@pytest.mark.parametrize("code", _snippets())
def test_a_snippet_of_the_guide_itself(code: str, outputs: dict[str, Any]) -> None:
    names = {"__builtins__": {}, "dict": dict, "pretrained_light_cnn": "random"}
    checked(eval(code, names), outputs)


@losskit.weighted_loss
def squared_shift(pred: Tensor) -> Tensor:
    return pred**2


class ThirdPartyShift(nn.Module):
    """The form the guide teaches: parses ``data_info`` itself, static ``loss_name()``."""

    def __init__(self, loss_weight: float = 1.0, data_info: dict[str, str] | None = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.data_info = data_info

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        if self.data_info is None:
            return squared_shift(*args, weight=self.loss_weight, **kwargs)
        if len(args) == 1:
            assert isinstance(args[0], dict), "the outputs must be a dict"
            outputs = args[0]
        else:
            outputs = kwargs.pop("outputs_dict")
        routed = {argument: outputs[key] for argument, key in self.data_info.items()}
        return squared_shift(weight=self.loss_weight, **routed, **kwargs)

    @staticmethod
    def loss_name() -> str:
        return "loss_third_party_shift"


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(registry, "_LOCAL", {})
    losskit.register()(ThirdPartyShift)
    return {"type": "ThirdPartyShift", "loss_weight": 0.5, "data_info": {"pred": "disc_pred_real"}}


def test_a_third_partys_class(third_party, outputs) -> None:
    expected = 0.5 * outputs["disc_pred_real"].square().mean()
    term = losskit.build(third_party)
    torch.testing.assert_close(term(outputs), expected)
    torch.testing.assert_close(term(outputs_dict=outputs), expected)
    plain = losskit.build({"type": "ThirdPartyShift", "loss_weight": 0.5})
    torch.testing.assert_close(plain(outputs["disc_pred_real"]), expected)
    result = losskit.Objective([third_party])(outputs)
    assert list(result.logs) == ["loss_third_party_shift"]
    torch.testing.assert_close(result.total, expected)


def test_a_third_partys_class_beside_a_gan_loss(third_party, outputs) -> None:
    gan = pytest.importorskip("losskit_gan")
    ours = {**third_party, "type": "DiscShiftLoss"}
    objective = gan.GANObjective(
        gan_loss={"type": "GANLoss", "gan_type": "hinge"}, disc_auxiliary_loss=[third_party, ours]
    )
    result = objective.discriminator(outputs)
    assert set(result.logs) == {
        "loss_disc_fake", "loss_disc_real", "loss_third_party_shift", "loss_disc_shift",
    }  # fmt: skip
    torch.testing.assert_close(
        result.logs["loss_third_party_shift"], result.logs["loss_disc_shift"]
    )
    torch.testing.assert_close(result.total.detach(), sum(result.logs.values()))
    assert objective.needs("discriminator", "disc_pred_real")


def test_gan_with_customized_loss_takes_it_by_config_alone(third_party) -> None:
    gan = pytest.importorskip("losskit_gan")
    disc = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Softplus(), nn.Conv2d(4, 1, 3, 2, 1))
    model = gan.GANWithCustomizedLoss(
        Generator(),
        disc,
        gan_loss={"type": "GANLoss", "gan_type": "wgan-logistic-ns"},
        disc_auxiliary_loss=third_party,
        latent_dim=4,
    )
    optimizers = {
        name: torch.optim.SGD(net.parameters(), lr=1e-3)
        for name, net in (("generator", model.generator), ("discriminator", disc))
    }
    logs = model.train_step(torch.rand(2, 3, 16, 16), optimizers)
    assert "loss_third_party_shift" in logs
