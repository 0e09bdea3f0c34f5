"""BasicSR's and traiNNer-redux's YAML as losses and a training config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from losskit.errors import ConfigError
from losskit_lab.migrate.mmagic_models import GAN_KEYS
from losskit_lab.migrate.schedule import read_schedule
from losskit_lab.migrate.search import spec_of
from losskit_lab.migrate.term import MigratedTerm, migrated_term
from losskit_lab.migrate.training import Draft, network_in_words, player_optimizer, relativistic
from losskit_lab.migrate.values import number, section, whole

#: Types of BasicSR, and of traiNNer-redux, which ignores case → ours, with the defaults that are others.
_LOSSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "charbonnierloss": ("CharbonnierLoss", {}),
    "contextualloss": ("ContextualLoss", {}),
    "distsloss": ("DISTS", {}),
    "ffloss": ("FocalFrequencyLoss", {"ave_spectrum": True}),
    "focalfrequencyloss": ("FocalFrequencyLoss", {}),
    "ganloss": ("GANLoss", {"gan_type": "vanilla"}),
    "l1loss": ("L1Loss", {}),
    "mseloss": ("MSELoss", {}),
    "mssimloss": ("MSSSIMLoss", {}),
    "perceptualloss": ("PerceptualLoss", {"style_weight": 0, "norm_img": False}),
    "psnrloss": ("PSNRLoss", {}),
    "weightedtvloss": ("MaskedTVLoss", {}),
}
_OPTIONS = {"range_norm": "norm_img", "to_y": "toY"}
_REMARKS = {
    "MSSSIMLoss": "traiNNer-redux compares the luma of YIQ; here it is every channel",
    "DISTS": "the published weights are its own network's",
}
_CRITERIA = {"l1": "l1", "charbonnier": "l1", "l2": "mse", "mse": "mse"}
#: Layers of traiNNer-redux's perceptual loss where a config names none.
_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}
#: What the sections of a config hold that is carried over, or means nothing here.
_TRAIN = (
    *("ema_decay", "optim_g", "optim_d", "scheduler", "total_iter", "warmup_iter", "losses"),
    *("net_d_iters", "grad_clip", "grad_clip_max_norm", "r1_reg_weight", "path_reg_weight"),
    *("net_g_reg_every", "net_d_reg_every", "path_batch_shrink"),
)
#: Metrics of images; here the smaller one is the better.
_METRICS = {"calculate_psnr": "PSNRLoss", "calculate_ssim": "SSIMLoss"}
_DATA = (
    *("name", "type", "dataroot_gt", "dataroot_lq", "gt_size", "lq_size", "use_hflip", "use_rot"),
    *("num_worker_per_gpu", "batch_size_per_gpu", "accum_iter", "io_backend", "filename_tmpl"),
    *("dataset_enlarge_ratio", "prefetch_mode", "mean", "std"),
)


def found_losses(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each loss of ``train`` that weighs anything, and where it stands.

    Raises:
        ConfigError: the config has no section ``train``.
    """
    train = config.get("train")
    if not isinstance(train, Mapping):
        raise ConfigError("no section 'train': neither BasicSR's nor traiNNer-redux's training")
    for key, value in train.items():
        if key.endswith("_opt") and isinstance(value, Mapping) and "type" in value:
            yield f"train.{key}", value
    listed = train.get("losses")
    for index, value in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(value, Mapping) and "type" in value and value.get("loss_weight") != 0:
            yield f"train.losses[{index}]", value


def term_of(path: str, found: Mapping[str, Any], notes: list[str]) -> MigratedTerm | None:
    """A loss in our names; ``None``, and a note, where there is none of the kind."""
    kind = str(found["type"])
    name, defaults = _LOSSES.get(kind.lower(), ("", {}))
    if path.rpartition(".")[2] == "ldl_opt" or not name or spec_of(name) is None:
        missing = (
            f"no plugin that is installed has {name}" if name else "there is no such loss here"
        )
        if path.endswith("ldl_opt"):
            missing = (
                "LDL weighs pixels by the averaged generator's output, which no loss here reads"
            )
        notes.append(f"left out {path} {dict(found)}: {missing}")
        return None
    options = {**defaults, **{_OPTIONS.get(key, key): value for key, value in found.items()}}
    remarks = [_REMARKS[name]] if name in _REMARKS else []
    if isinstance(weight := options.get("loss_weight"), (int, float)) and weight < 0:
        notes.append(
            f"left out {path}: its weight is negative, which compares with the input instead"
        )
        return None
    if name == "PerceptualLoss":
        options.setdefault("layer_weights", _LAYERS)
        criterion = str(options.get("criterion", "l1"))
        if criterion not in _CRITERIA:
            notes.append(f"left out {path} {dict(found)}: no criterion here is like {criterion!r}")
            return None
        options["criterion"] = _CRITERIA[criterion]
        if criterion == "charbonnier":
            remarks.append("criterion: l1, from which charbonnier's differs by less than 1e-6")
    if path.rpartition(".")[2] in GAN_KEYS and options.get("gan_type") == "wgan_softplus":
        options["gan_type"] = "wgan-logistic-ns"
    term = migrated_term(path, {**options, "type": name})
    own = {key: value for key, value in term.config.items() if key != "loss_name"}
    key = path.rpartition(".")[2].removesuffix("_opt")
    if "[" not in key and key != "gan":
        own = {"type": name, "loss_name": f"loss_{key}", **own}
    kept = [note for note in term.notes if not note.startswith("takes the outputs")]
    return MigratedTerm(path, own, (*kept, *remarks))


def draft_of(
    config: Mapping[str, Any], terms: list[MigratedTerm], *, alone: bool = False
) -> Draft | None:
    """Draft the training that the config describes; ``None`` where it has no adversarial loss.

    Args:
        config: the config.
        terms: its losses.
        alone: also for a generator that is trained alone.
    """
    train, gan = config["train"], [t for t in terms if t.config["type"] == "GANLoss"]
    if not gan and not (alone and terms):
        return None
    draft = Draft(scale=whole(config, "scale", 1))
    kind = str(config.get("model_type", ""))
    draft.task = "generation" if kind == "StyleGAN2Model" else "super-resolution"
    generator = [dict(term.config) for term in terms if term not in gan]
    if gan:
        adversarial = dict(gan[0].config)
        if kind == "ESRGANModel":
            adversarial = relativistic(adversarial, draft.notes)
        draft.losses = {"gan_loss": adversarial}
    if kind == "StyleGAN2Model":
        draft.losses = {"preset": "stylegan2", "loss_config": _stylegan2(train)}
        draft.styled = True
    if generator:
        draft.losses["gen_auxiliary_loss"] = generator
    draft.notes += [f"{term.path}: {note}" for term in terms for note in term.notes]
    for player, key in (("generator", "network_g"), ("discriminator", "network_d")):
        if network := section(config, key):
            draft.networks[player] = network_in_words(network)
    _data(config, draft)
    _training(config, train, draft)
    _validation(config, draft)
    return draft


def _stylegan2(train: Mapping[str, Any]) -> dict[str, Any]:
    """BasicSR multiplies the weights of lazy penalties by their interval, and R1's by ½."""
    every = {player: whole(train, f"net_{player}_reg_every", 1) for player in "dg"}
    return {
        "r1_loss_weight": number(train, "r1_reg_weight", 10) / 2 * every["d"],
        "r1_interval": every["d"],
        "g_reg_weight": number(train, "path_reg_weight", 2) * every["g"],
        "g_reg_interval": every["g"],
        "pl_batch_shrink": whole(train, "path_batch_shrink", 1),
    }


def _data(config: Mapping[str, Any], draft: Draft) -> None:
    data = section(config, "datasets", "train")
    for ours, theirs in (("images", "dataroot_gt"), ("inputs", "dataroot_lq")):
        folders = data.get(theirs)
        if isinstance(folders, list) and folders:
            if len(folders) > 1:
                draft.notes.append(f"left out all folders of {theirs} but the first: {folders[1:]}")
            folders = folders[0]
        if isinstance(folders, str):
            draft.data[ours] = folders
            if folders.endswith("lmdb"):
                draft.notes.append(
                    f"data.{ours}: {folders} is a database; a folder of images is read"
                )
    if "inputs" in draft.data:
        draft.task = "paired"
    for ours, theirs in (("batch_size", "batch_size_per_gpu"), ("workers", "num_worker_per_gpu")):
        if count := whole(data, theirs):
            draft.data[ours] = count
    draft.data["flip"] = bool(data.get("use_hflip", True))
    if data.get("use_rot", draft.task != "generation"):
        draft.data["rotate"] = True
    draft.data["value_range"] = [-1.0, 1.0] if "mean" in data else [0.0, 1.0]
    if (accumulate := whole(data, "accum_iter", 1)) > 1:
        draft.data["batch_size"] = draft.data.get("batch_size", 16) * accumulate
        draft.top["accumulate"] = accumulate
    size = whole(data, "gt_size") or whole(config, "gt_size")
    draft.size = size or whole(data, "lq_size") * draft.scale or None
    if others := [key for key in data if key not in _DATA]:
        draft.notes.append(f"left out of datasets.train: {', '.join(map(str, others))}")
    degraded = [key for key in ("high_order_degradation", "resize_prob") if config.get(key)]
    if degraded and draft.task != "paired":
        draft.notes.append(
            "data: inputs are made smaller by bicubic; blur, noise and JPEG are left out"
        )
    for key in ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm"):
        if config.get(key):
            draft.notes.append(f"left out {key}: targets are not sharpened")


def _validation(config: Mapping[str, Any], draft: Draft) -> None:
    """``val`` and ``datasets.val`` as ``validate``; what cannot be is listed."""
    wished = section(config, "val")
    if not wished:
        return
    data = section(config, "datasets", "val") or section(config, "datasets", "val_1")
    images = data.get("dataroot_gt")
    if not isinstance(images, str) or draft.task == "generation":
        draft.notes.append("left out val: datasets.val names no folder of images (dataroot_gt)")
        return
    found: dict[str, Any] = {"images": images}
    if draft.task == "paired":
        found["inputs"] = str(data.get("dataroot_lq", ""))
    metrics: list[str] = []
    options: dict[str, Any] = {}
    for name, metric in section(wished, "metrics").items():
        kind = str(metric.get("type", "")) if isinstance(metric, Mapping) else ""
        if kind in _METRICS:
            metrics.append(_METRICS[kind])
            options["crop_border"] = whole(metric, "crop_border")
            options["y_channel"] = bool(metric.get("test_y_channel", False))
        else:
            draft.notes.append(f"left out val.metrics.{name}: no counterpart here")
    draft.top["validate"] = {
        **found,
        "every": whole(wished, "val_freq", 500),
        **({"metrics": metrics} if metrics else {}),
        **{key: value for key, value in options.items() if value},
    }


def _training(config: Mapping[str, Any], train: Mapping[str, Any], draft: Draft) -> None:
    if steps := whole(train, "total_iter"):
        draft.top["steps"] = steps
    if (updates := whole(train, "net_d_iters", 1)) > 1:
        draft.top["discriminator_steps"] = updates
    draft.top["seed"] = whole(config, "manual_seed")
    if config.get("use_amp"):
        draft.top["fabric"] = {"precision": "bf16-mixed" if config.get("amp_bf16") else "16-mixed"}
    if config.get("use_compile"):
        draft.model["compile"] = True
    draft.model["ema"] = number(train, "ema_decay", 0.0)
    lazy = draft.losses.get("preset") == "stylegan2"
    for player, key in (("generator", "optim_g"), ("discriminator", "optim_d")):
        if found := dict(section(train, key)):
            if lazy:  # as its class does, for penalties that are updates of their own
                every = whole(train, f"net_{key[-1]}_reg_every", 1)
                ratio = every / (every + 1)
                found |= {"lr": number(found, "lr", 2e-3) * ratio, "betas": [0.0, 0.99**ratio]}
            if train.get("grad_clip"):
                found["clip_norm"] = number(train, "grad_clip_max_norm", 100.0)
            draft.optimizers[player] = player_optimizer(found, f"train.{key}", draft.notes)
    read_schedule(train.get("scheduler"), draft, by_epoch=False)
    if (warmup := whole(train, "warmup_iter")) > 0:
        draft.schedule["warmup"] = warmup
    for key, value in train.items():
        unused = key.startswith("moa_") and not train.get("use_moa")
        carried = key in _TRAIN or key.endswith("_opt") or unused
        if not carried and value not in (0, False, None):
            draft.notes.append(f"left out train.{key}={value!r}: no counterpart here")
    if section(config, "path").get("pretrain_network_g"):
        draft.notes.append("the generator begins from weights: model.warm_start takes a checkpoint")
