"""Configs of the shapes that MMagic's have: which losses are found, and what is said of the rest."""

from pathlib import Path

import pytest

from losskit.cli import main
from losskit_lab.migrate.convert import Migration, migrate

RUNTIME = "default_hooks = dict(logger=dict(type='LoggerHook'))\nload_from = find_checkpoint()\n"


def read(folder: Path, text: str, **bases: str) -> Migration:
    """Write ``config.py`` and its bases (``models__net`` is ``_base_/models/net.py``); migrate it."""
    for name, content in bases.items():
        path = folder / "_base_" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "config.py").write_text(text)
    return migrate(folder / "config.py")


def found(result: Migration) -> list[tuple[str, str]]:
    return [(term.path, term.config["type"]) for term in result.terms]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("l1 = dict(type='L1Loss')\nl2 = dict(l1, loss_weight=2)", ["l2"]),
        ("l1 = dict(type='L1Loss')\nl2 = {**l1, 'loss_weight': 2}", ["l2"]),
        ("l1 = dict(type='L1Loss')\nmodel = dict(a=dict(l1, loss_weight=2))", ["model.a"]),
        ("l1 = dict(type='L1Loss')\nmodel = dict(a=dict(l1, type='MSELoss'))", ["model.a"]),
        ("l1 = dict(type='L1Loss')\nmodel = dict(a=l1, b=dict(l1))", ["model.a", "model.b"]),
        (
            "from copy import deepcopy\nl1 = dict(type='L1Loss')\nl2 = deepcopy(l1)\nl2['x'] = 1",
            ["l2"],
        ),
        ("import copy\nl1 = dict(type='L1Loss')\nl2 = copy.copy(l1)\nl3 = l2.copy()", ["l3"]),
        ("both = [dict(type='L1Loss')]\nmodel = dict(aux=[*both, dict(type='MSELoss')])", 2),
        ("parts = dict(a=dict(type='L1Loss'))\nmodel = dict(loss=parts['a'])", ["model.loss"]),
        # what was not used as a loss stays one
        ("l1 = dict(type='L1Loss', loss_weight=2)\nw = 3 * l1['loss_weight']", ["l1"]),
        ("l1 = dict(type='L1Loss')\nl1['loss_weight'] = 2\nl1.update(reduction='sum')", ["l1"]),
        ("l1 = dict(type='L1Loss')\nl1 = dict(l1, loss_weight=2)", ["l1"]),
        ("l1 = dict(type='L1Loss')\nmodel = build(l1)", ["l1"]),
        ("ls = [dict(type='L1Loss')]\nls += [dict(type='MSELoss')]", ["ls[0]", "ls[1]"]),
    ],
)
def test_an_ingredient_is_no_term(tmp_path, text, paths) -> None:
    result = read(tmp_path, text)
    if isinstance(paths, int):
        assert len(result.terms) == paths
    else:
        assert [term.path for term in result.terms] == paths


def test_changed_copies_keep_their_changes(tmp_path) -> None:
    text = "l1 = dict(type='L1Loss', loss_weight=1)\nmodel = dict(a=l1, b=dict(l1, loss_weight=2))"
    weights = [term.config["loss_weight"] for term in read(tmp_path, text).terms]
    assert weights == [1, 2]


SUPER_RESOLUTION = """
_base_ = '_base_/models/net.py'
experiment_name = 'x4'
work_dir = f'./work_dirs/{experiment_name}'
scale = 4
train_pipeline = [dict(type='Resize', scale=float(scale)), dict(type='Pack')]
model = dict(
    type='SRGAN',
    generator=dict(type='Net', init_cfg=dict(type='Pretrained', checkpoint=find_weights())),
    pixel_loss=dict(type='L1Loss', loss_weight=1e-2, reduction='mean'),
    perceptual_loss=dict(
        type='PerceptualLoss', layer_weights={'34': 1.0}, vgg_type='vgg19', perceptual_weight=1.0,
        style_weight=0, norm_img=False, pretrained='random'),
    gan_loss=dict(
        type='GANLoss', gan_type='vanilla', loss_weight=5e-3, real_label_val=1.0, fake_label_val=0),
    train_cfg=dict(pixel_init=10000))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=400_000)
optim_wrapper = dict(
    _delete_=True,
    generator=dict(optimizer=dict(type='Adam', lr=base_lr(), betas=(0.9, 0.99**0.5)), **more()))
val_cfg = val_evaluator = None
for dataset in test_dataloader:
    dataset['batch_size'] = 1
"""


def test_super_resolution_of_the_esrgan_kind(tmp_path) -> None:
    pytest.importorskip("losskit_perceptual")
    pytest.importorskip("losskit_gan")
    base = "model = dict(type='SR', pixel_loss=dict(type='MSELoss', sample_wise=True))\n" + RUNTIME
    result = read(tmp_path, SUPER_RESOLUTION, models__net=base)
    assert found(result) == [
        ("model.pixel_loss", "L1Loss"),
        ("model.perceptual_loss", "PerceptualLoss"),
        ("model.gan_loss", "GANLoss"),
    ]
    assert not any("was not" in note for note in result.notes)  # nothing there could hold a loss
    assert result.terms[0].config["sample_wise"]  # of the base
    assert result.terms[1].config["weights"] == "random"


INPAINTING = """
model = dict(
    type='DeepFillv1Inpaintor',
    disc=dict(type='Discs', global_disc_cfg=dict(fc_in_channels=256 * 16 * 16)),
    stage1_loss_type=('loss_l1_hole', 'loss_l1_valid'),
    loss_out_percep=True,
    loss_gan=dict(type='GANLoss', gan_type='wgan', loss_weight=0.0001),
    loss_l1_hole=dict(type='L1Loss', loss_weight=6.),
    loss_tv=dict(type='MaskedTVLoss', loss_weight=0.1),
    loss_gp=dict(type='GradientPenaltyLoss', loss_weight=10.),
    loss_disc_shift=dict(type='DiscShiftLoss', loss_weight=0.001))
"""


def test_inpainting_of_the_deepfill_kind(tmp_path) -> None:
    pytest.importorskip("losskit_gan")
    result = read(tmp_path, INPAINTING)
    assert [path for path, _ in found(result)] == [
        "model.loss_gan",
        "model.loss_l1_hole",
        "model.loss_tv",
        "model.loss_gp",
        "model.loss_disc_shift",
    ]
    assert result.training is not None
    disc = [term["type"] for term in result.training["disc_auxiliary_loss"]]
    assert disc == ["GradientPenaltyLoss", "DiscShiftLoss", "DiscShiftLoss"]


LAZY = """
from mmengine.config import read_base
from mmagic.models.losses import L1Loss

with read_base():
    from .._base_.default_runtime import *  # noqa
    from zoo.configs.net import *

model.update(
    generator=dict(out_size=256),
    cleaning_loss=dict(type=L1Loss, loss_weight=0.5, reduction='mean'))
model.update(dict(pixel_loss=dict(loss_weight=3)))
optim_wrapper.update(dict(type=AmpOptimWrapper, loss_scale=512))
"""


def test_newer_style_updates_merge(tmp_path) -> None:
    folder = tmp_path / "zoo" / "configs" / "net"
    (tmp_path / "zoo" / "configs" / "_base_").mkdir(parents=True)
    folder.mkdir()
    (folder.parent / "_base_" / "default_runtime.py").write_text(RUNTIME)
    (folder.parent / "net.py").write_text(
        "model = dict(type=Net, generator=dict(type=Net), pixel_loss=dict(type=L1Loss))\n"
        "optim_wrapper = dict(type=OptimWrapper)\n"
    )
    result = read(folder, LAZY)
    assert result.notes == []
    assert [(t.path, t.config["loss_weight"]) for t in result.terms] == [
        ("model.pixel_loss", 3),
        ("model.cleaning_loss", 0.5),
    ]


def test_newer_style_without_its_base(tmp_path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    result = read(tmp_path / "a" / "b", LAZY)
    (note,) = result.notes
    assert note == "the base zoo/configs/net.py is not there: its losses are missing here"
    assert found(result) == [("model.cleaning_loss", "L1Loss")]


def test_bases_that_are_not_there(tmp_path) -> None:
    bases = "['_base_/default_runtime.py', '_base_/datasets/set5.py', '_base_/models/net.py']"
    (note,) = read(tmp_path, f"_base_ = {bases}\nmodel = dict(l=dict(type='L1Loss'))").notes
    assert note == "the base _base_/models/net.py is not there: its losses are missing here"


STYLEGAN = """
interval = 16
loss_config = dict(
    r1_loss_weight=10. / 2. * interval, r1_interval=interval, norm_mode='HWC', r1_use_apex_amp=False)
model = dict(type='{kind}', ema_config=dict(momentum=1. - 0.5**(32. / 1e4)), loss_config=loss_config)
"""


@pytest.mark.parametrize(
    ("text", "preset", "options"),
    [
        (
            STYLEGAN.replace("{kind}", "StyleGAN2"),
            "stylegan2",
            {"norm_mode": "HWC", "r1_loss_weight": 80.0, "r1_interval": 16},
        ),
        ("model = dict(type='mmagic.SNGAN', discriminator_steps=2)", "sngan", None),
        ("model = dict(type=ProgressiveGrowingGAN, noise_size=512)", "pggan", None),
        (
            "model = dict(type='Pix2Pix', loss_config=dict(pixel_loss_weight=100.0))",
            "pix2pix",
            {"pixel_loss_weight": 100.0},
        ),
        (
            "loss_config = dict(gp_norm_mode='HWC', gp_loss_weight=50)\nmodel = dict(type='WGANGP')",
            "wgan-gp",
            {"gp_norm_mode": "HWC", "gp_loss_weight": 50},
        ),
        (
            "model = dict(type='WGANGP', loss_config=dict(norm_mode='pixel', loss_weight=5))",
            "wgan-gp",
            {"gp_norm_mode": "pixel", "gp_loss_weight": 5},
        ),
        ("model = dict(type='StyleGAN2')", "stylegan2", {"norm_mode": "pixel"}),
    ],
)
def test_losses_of_a_models_class_are_a_preset(tmp_path, text, preset, options) -> None:
    pytest.importorskip("losskit_gan")
    from losskit_train.config.training import load_train_config

    result = read(tmp_path, text)
    assert result.terms == []
    assert result.training is not None
    assert result.training["preset"] == preset
    assert result.training.get("loss_config") == options
    out = tmp_path / "out.yaml"
    assert main(["migrate", str(tmp_path / "config.py"), "--out", str(out)]) == 0
    assert load_train_config(out).losses()["gan_loss"]


def test_options_that_a_preset_lacks_are_said(tmp_path) -> None:
    pytest.importorskip("losskit_gan")
    text = STYLEGAN.replace("{kind}", "StyleGAN2").replace("norm_mode", "norm_mood")
    notes = [note for note in read(tmp_path, text).notes if note.startswith("left out")]
    assert notes == [
        "left out model.loss_config.norm_mood='HWC': stylegan2 has no such key",
        "left out model.loss_config.r1_use_apex_amp: mixed precision is the trainer's",
    ]


def test_loss_configs_of_unknown_models_are_said(tmp_path) -> None:
    (note,) = read(tmp_path, "model = dict(type='New', loss_config=dict(a_weight=2))").notes
    assert note.endswith(
        "see `losskit presets` for its name, then `losskit presets NAME a_weight=2`"
    )


def test_presets_of_a_plugin_that_is_not_installed(core_only, tmp_path) -> None:
    notes = read(tmp_path, "model = dict(type='SNGAN')").notes
    assert notes[-1] == "the presets come with losskit-gan: pip install losskit-gan"


def test_a_model_without_losses_says_so(tmp_path) -> None:
    (note,) = read(tmp_path, "model = dict(type='StableDiffusion', vae=dict(type='VAE'))").notes
    assert "what StableDiffusion is trained with" in note


@pytest.mark.parametrize(
    "text",
    [
        "optimizer = dict(lr=base_lr * 2)",
        "optim_wrapper = dict(**more())",
        "dataset = load()",
        "data = dict(train=[make(i) for i in range(3)])",
        "lr = 1e-4 * max(gpus, 1)",
        "for hook in hooks:\n    hook.update(interval=1)",
        "def half(x):\n    return x / 2",
        "quality = LosslessJPEG(90)",
        "model = dict(generator=dict(init_cfg=dict(checkpoint=find())))",
    ],
)
def test_what_holds_no_loss_is_passed_over_in_silence(tmp_path, text) -> None:
    result = read(tmp_path, f"{text}\npixel_loss = dict(type='L1Loss')")
    assert found(result) == [("pixel_loss", "L1Loss")]
    assert result.notes == []


@pytest.mark.parametrize(
    "text",
    [
        "model = build_model()",
        "model = dict(**shared())",
        "model = dict(criterion=make())",
        "model = dict(pixel_loss=dict(type=pick('L1'), loss_weight=2))",
        "model = dict(head=dict(loss_cls=make()))",
        "model = dict(aux=[dict(type='L1Loss'), other])",
        "aux = [make('L1Loss') for _ in range(2)]",
        "for part in model:\n    part['x'] = 1",
        "if big:\n    pixel_loss = dict(type='L1Loss')",
    ],
)
def test_what_may_hold_a_loss_is_said(tmp_path, text) -> None:
    (note,) = read(tmp_path, text).notes
    assert "was not read" in note or "was not run" in note
