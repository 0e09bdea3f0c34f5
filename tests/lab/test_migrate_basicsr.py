"""YAML of BasicSR's and traiNNer-redux's shapes as objectives and training configs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml

from losskit import load_objective
from losskit.cli import main
from losskit.errors import LosskitError
from losskit_lab.migrate.convert import Migration, migrate

pytest.importorskip("losskit_gan")
from losskit_gan import GANObjective
from losskit_train.config.training import TrainConfig, load_train_config


def read(folder: Path, text: str) -> Migration:
    (folder / "train.yml").write_text(text)
    return migrate(folder / "train.yml")


def trained(result: Migration) -> TrainConfig:
    return load_train_config(yaml.safe_load(result.to_yaml()))


BASICSR = """
name: x4
model_type: KIND
scale: 4
manual_seed: 3
l1_gt_usm: True
datasets:
  train:
    type: PairedImageDataset
    dataroot_gt: data/hr
    dataroot_lq: data/lr
    gt_size: 64
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 2
    batch_size_per_gpu: 4
    sharpen: 2
network_g: {type: RRDBNet, num_feat: 64}
network_d: {type: VGGStyleDiscriminator, num_feat: 64}
path: {pretrain_network_g: weights.pth}
train:
  ema_decay: 0.99
  optim_g: {type: Adam, lr: !!float 1e-4, betas: [0.9, 0.99]}
  optim_d: {type: Adam, lr: !!float 2e-4, weight_decay: 0, amsgrad: true}
  total_iter: 400000
  warmup_iter: 100
  pixel_opt: {type: L1Loss, loss_weight: !!float 1e-2, reduction: mean}
  tv_opt: {type: WeightedTVLoss, loss_weight: 0.5}
  ldl_opt: {type: L1Loss, loss_weight: 1.0}
  gan_opt: {type: GANLoss, gan_type: vanilla, real_label_val: 1.0, fake_label_val: 0.0, loss_weight: 0.1}
  net_d_iters: 2
  net_d_init_iters: 0
  net_g_start_iter: 500
"""


@pytest.mark.parametrize("kind", ["SRGANModel", "ESRGANModel"])
def test_losses_give_basicsrs_number(tmp_path, kind) -> None:
    losses = trained(read(tmp_path, BASICSR.replace("KIND", kind))).losses()
    objective = GANObjective(losses["gan_loss"], None, losses["gen_auxiliary_loss"])
    torch.manual_seed(0)
    real, fake = torch.randn(2, 4, 1)
    pred, target = torch.rand(2, 4, 3, 8, 8)
    bce, one = F.binary_cross_entropy_with_logits, torch.ones(4, 1)
    if kind == "SRGANModel":
        adversarial = bce(fake, one)
    else:
        adversarial = (bce(fake - real.mean(), one) + bce(real - fake.mean(), 0 * one)) / 2
    variation = sum(pred.diff(dim=dim).abs().mean() for dim in (2, 3))
    found = objective.generator(
        {"disc_pred_fake": fake, "disc_pred_real": real, "pred": pred, "target": target}
    )
    expected = 0.1 * adversarial + 0.01 * F.l1_loss(pred, target) + 0.5 * variation
    torch.testing.assert_close(found.total, expected)


def test_training_is_carried_over_and_the_rest_is_said(tmp_path) -> None:
    result = read(tmp_path, BASICSR.replace("KIND", "SRGANModel"))
    config = trained(result)
    data = config.data
    assert (data.task, data.images, data.inputs, data.size) == ("paired", "data/hr", "data/lr", 64)
    assert (data.batch_size, data.workers, data.flip, data.rotate) == (4, 2, True, True)
    assert (data.value_range, config.steps, config.seed) == ((0.0, 1.0), 400_000, 3)
    assert (config.discriminator_steps, config.optimizer.warmup, config.model.ema) == (2, 100, 0.99)
    generator, discriminator = (config.optimizer.of(p) for p in ("generator", "discriminator"))
    assert (generator["lr"], generator["betas"]) == (1e-4, (0.9, 0.99))
    assert (discriminator["lr"], discriminator["betas"]) == (2e-4, (0.9, 0.999))
    notes = "\n".join(result.notes)
    for words in (
        "left out train.ldl_opt",
        "left out train.net_g_start_iter=500",
        "left out train.optim_d.amsgrad=True",
        "left out l1_gt_usm",
        "left out of datasets.train: sharpen",
        "SuperResolver stands in for RRDBNet(num_feat=64)",
        "model.warm_start",
    ):
        assert words in notes
    assert "net_d_init_iters" not in notes  # 0 says nothing


STYLEGAN2 = """
model_type: StyleGAN2Model
datasets:
  train: {dataroot_gt: faces.lmdb, use_hflip: true, mean: [0.5, 0.5, 0.5], batch_size_per_gpu: 3}
train:
  optim_g: {type: Adam, lr: 0.002}
  optim_d: {type: Adam, lr: 0.002}
  total_iter: 800
  gan_opt: {type: GANLoss, gan_type: wgan_softplus, loss_weight: 1}
  r1_reg_weight: 10
  path_batch_shrink: 2
  path_reg_weight: 2
  net_g_reg_every: 4
  net_d_reg_every: 16
  mixing_prob: 0.9
"""


def test_stylegan2s_lazy_penalties(tmp_path) -> None:
    result = read(tmp_path, STYLEGAN2)
    config = trained(result)
    assert (config.preset, config.data.value_range) == ("stylegan2", (-1.0, 1.0))
    losses = config.losses()
    assert losses["gan_loss"]["gan_type"] == "wgan-logistic-ns"
    assert [(t["loss_weight"], t["interval"]) for t in losses["disc_auxiliary_loss"]] == [(80, 16)]
    assert [(t["loss_weight"], t["interval"]) for t in losses["gen_auxiliary_loss"]] == [(8, 4)]
    assert config.optimizer.of("generator")["lr"] == pytest.approx(0.002 * 4 / 5)
    assert config.optimizer.of("discriminator")["betas"] == pytest.approx((0, 0.99 ** (16 / 17)))
    notes = "\n".join(result.notes)
    assert "faces.lmdb is a database" in notes
    assert "left out train.mixing_prob=0.9" in notes


TRAINNER = """
scale: 2
use_amp: true
amp_bf16: true
use_compile: true
high_order_degradation: true
datasets:
  train:
    type: realesrgandataset
    dataroot_gt: [data/a, data/b]
    lq_size: 32
    batch_size_per_gpu: 4
    accum_iter: 2
train:
  grad_clip: true
  grad_clip_max_norm: 5
  optim_g: {type: AdamW, lr: 0.0001, betas: [0.9, 0.99]}
  optim_d: {type: AdamW, lr: 0.0001, betas: [0.9, 0.99]}
  total_iter: 100
  use_moa: false
  moa_probs: [0.4]
  losses:
    - {type: charbonnierloss, loss_weight: 1.0}
    - {type: psnrloss, loss_weight: 0.5, to_y: true}
    - {type: hsluvloss, criterion: charbonnier, loss_weight: 1.0}
    - {type: distsloss, loss_weight: 0}
    - {type: l1loss, loss_weight: -1}
    - {type: ganloss, gan_type: vanilla, loss_weight: 0.1}
"""


def test_trainner_redux(tmp_path) -> None:
    result = read(tmp_path, TRAINNER)
    config = trained(result)
    assert config.gan_loss == {"type": "GANLoss", "loss_weight": 0.1, "gan_type": "vanilla"}
    assert config.gen_auxiliary_loss == [
        {"type": "CharbonnierLoss", "loss_weight": 1.0},
        {"type": "PSNRLoss", "loss_weight": 0.5, "toY": True},
    ]
    assert (config.data.task, config.data.scale, config.data.size) == ("super-resolution", 2, 64)
    assert (config.data.batch_size, config.accumulate) == (8, 2)
    assert (config.fabric.precision, config.model.compile) == ("bf16-mixed", True)
    values = config.optimizer.of("generator")
    assert (values["type"], values["weight_decay"], values["clip_norm"]) == ("AdamW", 0.01, 5)
    left_out = [note for note in result.notes if note.startswith("left out train.losses")]
    assert [note.split()[2] for note in left_out] == ["train.losses[2]", "train.losses[4]:"]
    assert any("['data/b']" in note for note in result.notes)
    assert not any("moa" in note for note in result.notes)


def test_perceptual_losses_keep_basicsrs_defaults(tmp_path) -> None:
    pytest.importorskip("losskit_perceptual")
    text = """
train:
  perceptual_opt: {type: PerceptualLoss, layer_weights: {conv5_4: 1}, range_norm: true, criterion: l1}
  losses:
    - {type: perceptualloss, criterion: charbonnier, loss_weight: 0.03}
    - {type: perceptualloss, criterion: pd, loss_weight: 0.03}
"""
    result = read(tmp_path, text)
    assert [note for note in result.notes if note.endswith("no criterion here is like 'pd'")]
    assert result.training is None
    one, other = (term.config for term in result.terms)
    assert (one["style_weight"], one["norm_img"]) == (0, True)
    assert (other["style_weight"], other["norm_img"], other["criterion"]) == (0, False, "l1")
    assert list(other["layer_weights"]) == ["conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"]
    config = yaml.safe_load(result.to_yaml())
    for term in config["terms"]:
        term["weights"] = "random"
    assert len(load_objective(config).terms) == 2


def test_a_generator_alone_is_an_objective(tmp_path, capsys) -> None:
    (tmp_path / "a.yml").write_text("train:\n  pixel_opt: {type: CharbonnierLoss, eps: 1.0e-9}\n")
    assert main(["migrate", str(tmp_path / "a.yml")]) == 0
    (term,) = yaml.safe_load(capsys.readouterr().out)["terms"]
    assert term == {"type": "CharbonnierLoss", "loss_name": "loss_pixel", "eps": 1e-9}
    assert main(["migrate", str(tmp_path / "a.yml"), "--training"]) == 0
    config = load_train_config(yaml.safe_load(capsys.readouterr().out))
    assert config.model.discriminator is None
    assert config.gen_auxiliary_loss == [term]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    for key, item in [*items, *(enumerate(value) if isinstance(value, list) else ())]:
        yield (*path, key)
        yield from _paths(item, (*path, key))


@pytest.mark.parametrize("junk", [0, "x", {"a": [None]}, [1.5], float("nan")], ids=repr)
@pytest.mark.parametrize(
    "text", [BASICSR, STYLEGAN2, TRAINNER], ids=["basicsr", "style", "trainner"]
)
def test_no_value_ends_in_a_traceback(tmp_path, text, junk) -> None:
    """In the place of each value in turn, whatever it should be."""
    for path in _paths(yaml.safe_load(text)):
        config = yaml.safe_load(text)
        *above, last = path
        owner = config
        for key in above:
            owner = owner[key]
        owner[last] = junk
        with contextlib.suppress(LosskitError):
            assert yaml.safe_load(read(tmp_path, yaml.safe_dump(config)).to_yaml())


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: 1", "no section 'train'"), ("a: [", "train.yml"), ("train: 3", "no section 'train'")],
)
def test_other_yaml_is_refused(tmp_path, text, message) -> None:
    with pytest.raises(LosskitError, match=message):
        read(tmp_path, text)


VAL = """
val:
  val_freq: 5000
  metrics:
    psnr: {type: calculate_psnr, crop_border: 4, test_y_channel: true}
    niqe: {type: calculate_niqe, crop_border: 4}
"""


def test_validation_is_carried_over(tmp_path: Path) -> None:
    folders = "datasets:\n  val: {type: P, dataroot_gt: val/hr, dataroot_lq: val/lr}\n"
    text = BASICSR.replace("KIND", "ESRGANModel").replace("datasets:\n", folders) + VAL
    result = read(tmp_path, text)
    section = trained(result).validate
    assert section is not None
    assert (section.images, section.inputs, section.every) == ("val/hr", "val/lr", 5000)
    assert (section.metrics, section.crop_border, section.y_channel) == (["PSNRLoss"], 4, True)
    assert "left out val.metrics.niqe: no counterpart here" in result.to_yaml()


def test_validation_without_images_is_listed(tmp_path: Path) -> None:
    result = read(tmp_path, BASICSR.replace("KIND", "ESRGANModel") + VAL)
    assert trained(result).validate is None
    assert "left out val: datasets.val names no folder of images" in result.to_yaml()
