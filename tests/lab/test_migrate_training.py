"""GAN configs of MMagic's shapes as training configs, which the trainer reads and trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml

from losskit.cli import main
from losskit_lab.migrate.convert import Migration, migrate

pytest.importorskip("losskit_gan")
from losskit_gan import GANObjective
from losskit_gan.presets.sections import LOSSES
from losskit_train.config.training import load_train_config
from losskit_train.run.loop import Trainer


def read(folder: Path, text: str) -> Migration:
    (folder / "config.py").write_text(text)
    return migrate(folder / "config.py")


def training(folder: Path, text: str) -> dict[str, Any]:
    """The printed training config, read back, its networks with random weights."""
    return dict(yaml.safe_load(read(folder, text).to_yaml()))


def objective(config: dict[str, Any]) -> GANObjective:
    losses = load_train_config(config).losses()
    return GANObjective(*(losses[key] for key in LOSSES))


GUIDE = """
model = dict(
    type='GANWithCustomizedLoss',
    generator=dict(type='StyleGANv2Generator', out_size=16, style_channels=64),
    discriminator=dict(type='StyleGAN2Discriminator', in_size=16),
    gan_loss=dict(type='GANLossComps', gan_type='wgan-logistic-ns', data_info=dict(
        disc_pred_fake='disc_pred_fake', disc_pred_real='disc_pred_real')),
    disc_auxiliary_loss=[
        dict(type='DiscShiftLoss', loss_weight=0.001 * 0.5, data_info=dict(pred='disc_pred_real')),
        dict(type='R1GradientPenaltyComps', loss_weight=10. / 2. * 16, interval=16, norm_mode='HWC',
             data_info=dict(real_data='real_imgs', discriminator='disc'))],
    gen_auxiliary_loss=dict(
        type='GeneratorPathRegularizerComps', loss_weight=8., pl_batch_shrink=2, interval=4,
        data_info=dict(generator='gen', num_batches='batch_size')))
train_dataloader = dict(batch_size=2, num_workers=0)
train_cfg = dict(max_iters=2)
"""


def test_the_guides_model_trains_as_it_is(tmp_path, monkeypatch) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("lightning.fabric")
    monkeypatch.chdir(tmp_path)
    config = training(tmp_path, GUIDE)
    assert config["gan_loss"] == {"type": "GANLoss", "gan_type": "wgan-logistic-ns"}
    shift, r1 = config["disc_auxiliary_loss"]
    assert (shift["type"], shift["loss_weight"]) == ("DiscShiftLoss", 0.0005)
    assert (r1["type"], r1["loss_weight"], r1["interval"]) == ("R1GradientPenalty", 80.0, 16)
    assert config["gen_auxiliary_loss"][0]["type"] == "GeneratorPathRegularizer"
    assert config["model"]["generator"]["image_size"] == 16
    assert main(["migrate", "config.py", "--out", "train.yaml"]) == 0
    assert main(["train", "train.yaml", "--quiet", "--accelerator", "cpu"]) == 0
    logs = (tmp_path / "runs" / "default" / "metrics.csv").read_text()
    for name in ("loss_disc_fake", "loss_disc_shift", "loss_r1_gp", "loss_path_regular"):
        assert name in logs


@pytest.mark.parametrize("losses", ["", "gan_loss=None"])
def test_a_model_of_no_losses_is_no_loss(tmp_path, losses, capsys) -> None:
    assert main(["migrate", str(read_path(tmp_path, losses))]) == 1
    assert "GANWithCustomizedLoss" in capsys.readouterr().err


def read_path(folder: Path, losses: str) -> Path:
    path = folder / "config.py"
    path.write_text(
        f"model = dict(type='GANWithCustomizedLoss', generator=dict(type='G'), {losses})"
    )
    return path


@pytest.mark.parametrize(
    ("model", "paths"),
    [
        (
            "dict(type='NetWithOwnLoss', generator=dict(type='G'), a=dict(type='L1Loss'))",
            ["model.a"],
        ),
        ("dict(type='SumLoss', losses=[dict(type='L1Loss')])", ["model.losses[0]"]),
        ("dict(type='OtherLoss', weight=2)", ["model"]),
    ],
)
def test_what_holds_losses_is_none_itself(tmp_path, model, paths) -> None:
    assert [term.path for term in read(tmp_path, f"model = {model}").terms] == paths


RESTORATION = """
scale = 4
model = dict(
    type='{kind}',
    generator=dict(type='RRDBNet', upscale_factor=scale, init_cfg=dict(type='Pretrained')),
    discriminator=dict(type='ModifiedVGG', mid_channels=64),
    pixel_loss=dict(type='L1Loss', loss_weight=1e-2, reduction='mean'),
    perceptual_loss=dict(type='MSELoss', loss_weight=0.5),
    gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=5e-3, real_label_val=1.0,
                  fake_label_val=0),
    train_cfg=dict({options}),
    data_preprocessor=dict(type='DataPreprocessor', mean=[0., 0., 0.], std=[255., 255., 255.]))
train_pipeline = [
    dict(type='LoadImageFromFile', key='img'), dict(type='PairedRandomCrop', gt_patch_size=64),
    dict(type='Flip', keys=['img', 'gt'], direction='horizontal'), dict(type='RandomBlur'),
    dict(type='RandomTransposeHW'), dict(type='PackInputs')]
train_dataloader = dict(
    num_workers=0, batch_size=4, dataset=dict(
        type='BasicImageDataset', data_root='data/DIV2K', data_prefix=dict(img='lr', gt='hr'),
        pipeline=train_pipeline))
optim_wrapper = dict(
    constructor='MultiOptimWrapperConstructor',
    generator=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99))),
    discriminator=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-4, eps=1e-6)))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400_000, val_interval=5000)
custom_hooks = [dict(type='ExponentialMovingAverageHook', interp_cfg=dict(momentum=0.001))]
randomness = dict(seed=7)
"""


def restoration(kind: str, options: str = "") -> str:
    return RESTORATION.replace("{kind}", kind).replace("{options}", options)


def test_esrgan_is_relativistic_and_halved(tmp_path) -> None:
    config = training(tmp_path, restoration("ESRGAN"))
    made = objective(config)
    torch.manual_seed(0)
    real, fake, pred, target = torch.randn(4, 1), torch.randn(4, 1), *torch.rand(2, 4, 3, 8, 8)
    outputs = {
        **{"disc_pred_real": real, "disc_pred_fake": fake, "disc_pred_fake_g": fake},
        **{"pred": pred, "fake_imgs": pred, "target": target, "real_imgs": target},
    }
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    bce = F.binary_cross_entropy_with_logits
    adversarial = (bce(fake - real.mean(), one) + bce(real - fake.mean(), zero)) / 2
    expected = 5e-3 * adversarial + 1e-2 * F.l1_loss(pred, target) + 0.5 * F.mse_loss(pred, target)
    torch.testing.assert_close(made.generator(outputs).total, expected)
    plain = objective(training(tmp_path, restoration("SRGAN")))
    pixels = 1e-2 * F.l1_loss(pred, target) + 0.5 * F.mse_loss(pred, target)
    torch.testing.assert_close(plain.generator(outputs).total, 5e-3 * bce(fake, one) + pixels)


def test_data_optimisers_and_steps_are_carried_over(tmp_path) -> None:
    result = read(tmp_path, restoration("SRGAN"))
    config = load_train_config(yaml.safe_load(result.to_yaml()))
    data = config.data
    assert (data.task, data.images, data.inputs) == ("paired", "data/DIV2K/hr", "data/DIV2K/lr")
    assert (data.batch_size, data.size, data.flip, data.rotate) == (4, 64, True, True)
    assert (data.value_range, config.steps, config.seed) == ((0.0, 1.0), 400_000, 7)
    assert config.model.ema == pytest.approx(0.999)
    generator, discriminator = (config.optimizer.of(p) for p in ("generator", "discriminator"))
    assert (generator["lr"], generator["betas"]) == (1e-4, (0.9, 0.99))
    assert (discriminator["lr"], discriminator["betas"]) == (2e-4, (0.9, 0.999))  # torch's own
    notes = "\n".join(result.notes)
    for words in (
        "SuperResolver stands in for RRDBNet(upscale_factor=4)",
        "left out optim_wrapper.discriminator.eps=1e-06",
        "left out of the data pipeline: RandomBlur",
        "the generator begins from weights",
    ):
        assert words in notes


def test_late_and_repeated_updates(tmp_path) -> None:
    text = restoration("TTSR", "pixel_init=25000, disc_repeat=2")
    config = training(tmp_path, text)
    pixel, other = config["gen_auxiliary_loss"]
    assert (config["gan_loss"]["start"], other["start"]) == (25000, 25000)
    assert "start" not in pixel
    assert (config["discriminator_steps"], config["steps"]) == (2, 800_000)
    scheduler = "dict(type='MultiStepLR', by_epoch=False, milestones=[50_000, 100_000], gamma=0.5)"
    slowed = training(tmp_path, f"{text}param_scheduler = {scheduler}\n")["optimizer"]["schedule"]
    assert slowed["milestones"] == [100_000, 200_000]  # counted in steps here


def test_losses_that_two_networks_do_not_feed_are_said(tmp_path) -> None:
    text = restoration("DIC").replace(
        "    train_cfg=dict()",
        "    align_loss=dict(type='MSELoss', loss_weight=0.1),\n    train_cfg=dict()",
    )
    result = read(tmp_path, text)
    (note,) = [note for note in result.notes if "align_loss" in note]
    assert note.startswith("left out model.align_loss {type: MSELoss, loss_weight: 0.1")
    assert result.training is not None
    assert len(result.training["gen_auxiliary_loss"]) == 2


INPAINTING = """
model = dict(
    type='{kind}', encdec=dict(type='Net'), disc=dict(type='Disc'),
    loss_gan=dict(type='GANLoss', gan_type='{gan}', loss_weight=0.01),
    loss_composed_percep=dict(type='MSELoss', loss_weight=3.0), loss_out_percep=True,
    loss_l1_hole=dict(type='L1Loss', loss_weight=6.), loss_l1_valid=dict(type='L1Loss'),
    loss_tv=dict(type='MaskedTVLoss', loss_weight=0.1), {more}
    train_cfg=dict(disc_step={steps}))
input_shape = (32, 32)
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='Crop', crop_size=(32, 32))]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    generator=dict(optimizer=dict(type='Adam', lr=1e-4)),
    disc=dict(type='AmpOptimWrapper', optimizer=dict(type='Adam', lr=1e-4)))
train_cfg = dict(max_iters=3)
"""
PENALTIES = (
    "loss_gp=dict(type='GradientPenaltyLoss', loss_weight=10.), "
    "loss_disc_shift=dict(type='DiscShiftLoss', loss_weight=0.001),"
)


@pytest.mark.parametrize(
    ("kind", "gan", "more", "names"),
    [
        (
            "DeepFillv1Inpaintor",
            "wgan",
            PENALTIES,
            ["loss_composed_percep", "loss_out_percep", "loss_l1_hole", "loss_l1_valid", "loss_tv"],
        ),
        (
            "AOTInpaintor",  # whose class counts the perceptual loss of its output only
            "smgan",
            "",
            ["loss_out_percep", "loss_l1_hole", "loss_l1_valid", "loss_tv"],
        ),
    ],
)
def test_inpainting_is_told_where_the_hole_is(tmp_path, kind, gan, more, names) -> None:
    pytest.importorskip("skimage")
    text = INPAINTING
    for key, value in {"kind": kind, "gan": gan, "more": more, "steps": "2"}.items():
        text = text.replace(f"{{{key}}}", value)
    config = training(tmp_path, text)
    terms = {term["loss_name"]: term for term in config["gen_auxiliary_loss"]}
    assert list(terms) == names
    assert terms["loss_l1_hole"]["data_info"]["weight"] == "mask"
    assert terms["loss_tv"]["data_info"] == {"pred": "fake_imgs", "mask": "mask"}
    assert terms["loss_out_percep"]["data_info"]["pred"] == "pred"
    if more:
        penalty, *shifts = config["disc_auxiliary_loss"]
        assert penalty["data_info"]["mask"] == "mask"
        assert [shift["loss_weight"] for shift in shifts] == [0.0005, 0.0005]
    assert config["model"]["compose"]
    assert config["discriminator_steps"] == 2
    assert config["fabric"] == {"precision": "16-mixed"}
    Trainer(load_train_config(config, ["fabric.precision=32-true"]), progress=False)  # a trial step


@pytest.mark.parametrize(("weight", "has"), [("2. * 4", True), ("0", False)])
def test_stylegan3_of_mmagic_has_path_lengths(tmp_path, weight, has) -> None:
    text = f"model = dict(type='StyleGAN3', loss_config=dict(g_reg_weight={weight}, r1_loss_weight=6.6))"
    config = training(tmp_path, text)
    assert config["preset"] == "stylegan3"
    assert config["loss_config"] == {"norm_mode": "pixel", "r1_loss_weight": 6.6}
    terms = load_train_config(config).losses()["gen_auxiliary_loss"]
    assert [(t["loss_weight"], t["interval"]) for t in terms] == [(8.0, 4)] * has
    assert config["model"]["generator"]["type"] == ("StyleGenerator" if has else "DCGANGenerator")


def test_deblurganv2s_class_names_weights_that_its_config_does_not(tmp_path) -> None:
    pytest.importorskip("losskit_perceptual")
    text = """
model = dict(
    type='DeblurGanV2', generator=dict(type='G'), discriminator=dict(type='D'),
    pixel_loss=dict(type='PerceptualLoss', layer_weights={'14': 1}, criterion='mse'),
    disc_loss=dict(type='AdvLoss', loss_type='ragan-ls'), adv_lambda=0.001)
train_dataloader = dict(dataset=dict(data_root='d', data_prefix=dict(img='in', gt='out')))
"""
    config = training(tmp_path, text)
    assert config["gan_loss"] == {"type": "AdvLoss", "loss_type": "ragan-ls", "loss_weight": 0.001}
    perceptual, pixels = config["gen_auxiliary_loss"]
    assert perceptual["perceptual_weight"] == pytest.approx(0.006)
    # 1 / 4 for the range [-1, 1], over the mean of ImageNet's variances
    factor = (torch.tensor([0.229, 0.224, 0.225]) ** -2).mean() / 4
    assert pixels["loss_weight"] == pytest.approx(0.5 * factor.item(), rel=2e-2)
    assert config["model"]["generator"] == {"type": "SuperResolver", "scale": 1}


def test_sizes_that_networks_can_have(tmp_path) -> None:
    for size, fitting in ((384, 256), (128, 128), (20, 16)):
        text = f"""
model = dict(type='SNGAN', generator=dict(type='G', out_size={size}))
train_dataloader = dict(dataset=dict(data_root='faces'))
"""
        config = training(tmp_path, text)
        assert config["data"]["size"] == config["model"]["generator"]["image_size"] == fitting
        assert config["data"]["images"] == "faces"


def test_a_generator_alone_where_it_is_asked_for(tmp_path, capsys) -> None:
    pytest.importorskip("skimage")
    text = """
model = dict(
    type='BasicVSR', generator=dict(type='Net', upscale_factor=4, padding='zeros'), flow_warp=True,
    pixel_loss=dict(type='CharbonnierLoss', loss_weight=1.0), ensemble=None)
train_pipeline = [dict(type='PairedRandomCrop', gt_patch_size=32)]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(type='Adam', lr=2e-4))
"""
    path = tmp_path / "config.py"
    path.write_text(text)
    assert main(["migrate", str(path)]) == 0
    assert "terms:" in capsys.readouterr().out
    assert main(["migrate", str(path), "--training"]) == 0
    printed = capsys.readouterr().out
    assert "# the model restores sequences of frames; here single images" in printed
    assert "# left out of the model: {flow_warp: True}" in printed
    config = yaml.safe_load(printed)
    assert "discriminator" not in config["model"]
    assert config["optimizer"] == {"type": "Adam", "lr": 2e-4, "betas": [0.9, 0.999]}
    Trainer(load_train_config(config), progress=False)  # a trial step


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("std=[255., 255., 255.]", "std=[0, 0, 0]"),
        ("mean=[0., 0., 0.]", "mean=grey()"),
        ("batch_size=4", "batch_size=cpus()"),
        ("max_iters=400_000", "max_iters='many'"),
        ("momentum=0.001", "momentum=[2]"),
        ("optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99))", "optimizer=make()"),
        ("gt_patch_size=64", "gt_patch_size=dict(a=1)"),
        ("gan_type='vanilla'", "gan_type=[1]"),
        ("loss_weight=5e-3", "loss_weight='x'"),
    ],
)
def test_values_that_are_no_numbers(tmp_path, old, new) -> None:
    text = restoration("ESRGAN")
    assert old in text
    assert training(tmp_path, text.replace(old, new))["gan_loss"]


LATE = "dict(type='LinearLR', end_factor=0, begin=200000, end=400000, by_epoch=False)"


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("dict(type='CosineAnnealingLR', by_epoch=False, T_max=400_000)", {"schedule": "cosine"}),
        ("dict(type='CosineRestartLR', by_epoch=False, periods=[400_000])", {"schedule": "cosine"}),
        (
            "[dict(type='LinearLR', start_factor=0.001, begin=0, end=500, by_epoch=False), "
            "dict(type='LinearLR', end_factor=0, by_epoch=False)]",
            {"schedule": "linear", "warmup": 500},
        ),
        (
            "dict(type='MultiStepLR', by_epoch=False, milestones=[50_000, 100_000], gamma=0.5)",
            {"schedule": {"type": "MultiStepLR", "milestones": [50_000, 100_000], "gamma": 0.5}},
        ),
        (
            "dict(_delete_=True, type='MultiStepLR', by_epoch=False, milestones=[9], gamma=0.5)",
            {"schedule": {"type": "MultiStepLR", "milestones": [9], "gamma": 0.5}},
        ),
        (
            "dict(type='StepLR', by_epoch=False, step_size=200_000)",
            {"schedule": {"type": "StepLR", "step_size": 200_000, "gamma": 0.1}},
        ),
        ("dict(type='MultiStepLR', milestones=[5, 10])", {}),  # in epochs
        ("dict(type='StepLR', by_epoch=False, step_size=5, begin=100)", {}),
        ("dict(type='MultiStepLR', by_epoch=False, milestones=['a'])", {}),
        ("dict(type='MultiStepLR', by_epoch=False, milestones=3)", {}),
        ("dict(type='CosineAnnealingLR', T_max=400_000)", {}),  # in epochs
        ("dict(type='CosineRestartLR', by_epoch=False, periods=[200_000] * 2)", {}),
        ("dict(type='CosineAnnealingLR', by_epoch=False, T_max=600_000)", {}),
        (f"dict(generator={LATE})", {}),
        ("None", {}),
    ],
)
def test_schedules(tmp_path, scheduler, expected) -> None:
    result = read(tmp_path, f"{restoration('SRGAN')}param_scheduler = {scheduler}\n")
    assert result.training is not None
    found = result.training["optimizer"]
    assert {key: found[key] for key in ("schedule", "warmup") if key in found} == expected
    assert load_train_config(result.training)
    said = any(note.startswith("left out the schedule") for note in result.notes)
    assert said == (not expected and scheduler != "None")


def test_what_a_loss_needs_besides_is_said(tmp_path) -> None:
    text = restoration("SRGAN").replace("type='MSELoss'", "type='CharbonnierCompLoss'")
    notes = read(tmp_path, text).notes
    (note,) = [
        note for note in notes if note.startswith("model.perceptual_loss: takes the outputs")
    ]
    assert "pred_alpha" in note


def test_without_the_plugin_it_is_said(core_only, tmp_path) -> None:
    assert "pip install losskit-gan" in read(tmp_path, "model = dict(type='SNGAN')").notes[-1]
