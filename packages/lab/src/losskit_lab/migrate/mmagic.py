"""MMagic's GAN models as training configs: which player a loss belongs to, and where it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from losskit import mmagic as compat
from losskit_lab.migrate.data import read_data
from losskit_lab.migrate.mmagic_models import (
    DISC_KEYS,
    DISC_TYPES,
    GAN_KEYS,
    KEY_ROUTES,
    ROUTES,
    UNPLACED,
    ModelClass,
    model_class,
)
from losskit_lab.migrate.python_config import PythonConfig
from losskit_lab.migrate.schedule import read_optimization
from losskit_lab.migrate.search import loss_configs, model_type
from losskit_lab.migrate.term import MigratedTerm, plain, unresolved
from losskit_lab.migrate.training import Draft, network_in_words, relativistic
from losskit_lab.migrate.values import number, section, whole

#: Keys under which MMagic's models have their networks.
_NETWORKS = {"generator": ("generator", "encdec"), "discriminator": ("discriminator", "disc")}

#: Options of a model that are read, or that say nothing of its training.
_READ = (
    *("type", "adv_lambda", "discriminator_steps", "generator_steps", "is_use_ema", "ema_start"),
    *("noise_size", "num_classes", "default_domain", "reachable_domains", "related_domains"),
)


def draft_of(
    config: PythonConfig,
    terms: Sequence[MigratedTerm],
    preset_keys: Sequence[str] | None,
    *,
    alone: bool = False,
) -> Draft | None:
    """Draft the training that a config describes; ``None`` where its model has no discriminator to train.

    Args:
        config: the config.
        terms: its losses.
        preset_keys: the ``loss_config`` keys of the preset of the model's class, where installed.
        alone: also for a generator that is trained alone.
    """
    name = model_type(config)
    known = model_class(name)
    kind = known or ModelClass(_task_of(config))
    adversarial = any(_role(term) != "gen_auxiliary_loss" for term in terms)
    customized = name == "GANWithCustomizedLoss" and bool(terms)
    if not (kind.in_class or adversarial or customized or (alone and terms)):
        return None
    model = section(config.values, "model")
    draft = Draft(task=kind.task, scale=_scale(config, model), notes=list(kind.notes))
    if kind.preset and not kind.in_class:
        draft.notes.append(
            f"the method is that of the preset {kind.preset}; the numbers are the config's"
        )
    if kind.in_class and kind.preset:
        draft.losses = _of_class(config, kind, kind.preset, preset_keys, draft)
    _place(terms, kind, model, draft)
    types = [term["type"] for role in draft.losses.values() for term in _terms(role)]
    draft.styled = kind.preset == "stylegan2" or "GeneratorPathRegularizer" in types
    for player, keys in _NETWORKS.items():
        found = next(filter(None, (section(model, key) for key in keys)), None)
        if found:
            draft.networks[player] = network_in_words(found)
    others = {key: value for key, value in model.items() if _is_left_out(key, value)}
    if others:
        draft.notes.append(f"left out of the model: {_flow(plain(others))}")
    read_data(config, model, draft)
    read_optimization(config, model, draft)
    return draft


def _is_left_out(key: str, value: Any) -> bool:
    """Return whether an option of the model is read by nothing here, and switched on."""
    held = isinstance(value, (Mapping, list)) or key.startswith("loss_")
    return not held and key not in _READ and value not in (None, False, "")


def _terms(role: Any) -> Iterator[Mapping[str, Any]]:
    for term in role if isinstance(role, list) else [role]:
        if isinstance(term, Mapping) and "type" in term:
            yield term


def _task_of(config: PythonConfig) -> Any:
    keys = set(section(config.values, "model"))
    if "encdec" in keys:
        return "inpainting"
    return "super-resolution" if {"pixel_loss", "perceptual_loss"} & keys else "generation"


def _scale(config: PythonConfig, model: Mapping[str, Any]) -> int:
    network = section(model, "generator")
    own = whole(network, "upscale_factor") or whole(network, "scale")
    if scale := own or whole(config.values, "scale"):
        return scale
    return 1 if "SRGAN" not in str(model.get("type")) else 4


def _role(term: MigratedTerm) -> str:
    """The key of a training config that a loss belongs under."""
    keys = [re.sub(r"\[\d+\]$", "", key) for key in term.path.split(".")]
    for key in reversed(keys):
        if key in GAN_KEYS:
            return "gan_loss"
        if key in DISC_KEYS:
            return "disc_auxiliary_loss"
    return "disc_auxiliary_loss" if term.config["type"] in DISC_TYPES else "gen_auxiliary_loss"


def _of_class(
    config: PythonConfig,
    kind: ModelClass,
    preset: str,
    known: Sequence[str] | None,
    draft: Draft,
) -> dict[str, Any]:
    """``preset`` and its ``loss_config``, with the class's defaults where they are others."""
    options = dict(kind.defaults)
    for where, found in loss_configs(config):
        for name, value in found.items():
            key = kind.options.get(name, name)
            bad = next(unresolved(value), None)
            if bad is not None:
                draft.notes.append(f"left out {where}.{key}={bad.text}: no constant ({bad.why})")
            elif key in compat.IGNORED_OPTIONS:
                draft.notes.append(f"left out {where}.{key}: mixed precision is the trainer's")
            elif preset == "stylegan3" and key in _PATH_KEYS:
                pass  # a term of its own, below
            elif known is not None and key not in known:
                draft.notes.append(
                    f"left out {where}.{key}={plain(value)!r}: {preset} has no such key"
                )
            else:
                options[str(key)] = plain(value)
    losses: dict[str, Any] = {"preset": preset}
    if options:
        losses["loss_config"] = options
    if preset == "stylegan3" and (term := _path_lengths(config)):
        losses["gen_auxiliary_loss"] = [term]
        draft.notes.append("gen_auxiliary_loss: MMagic's StyleGAN3 has StyleGAN2's path lengths")
    return losses


_PATH_KEYS = {"g_reg_weight": "loss_weight", "g_reg_interval": "interval", "pl_batch_shrink": ""}


def _path_lengths(config: PythonConfig) -> dict[str, Any] | None:
    """The path length term of MMagic's StyleGAN3, whose class inherits it with StyleGAN2's defaults."""
    options = {"g_reg_weight": 8.0, "g_reg_interval": 4, "pl_batch_shrink": 2}
    for _, found in loss_configs(config):
        options |= {key: plain(found[key]) for key in _PATH_KEYS if key in found}
    if not options["g_reg_weight"]:
        return None
    own = {ours or key: options[key] for key, ours in _PATH_KEYS.items()}
    routes = dict(ROUTES["GeneratorPathRegularizer"])
    return {"type": "GeneratorPathRegularizer", **own, "data_info": routes}


def _place(
    terms: Sequence[MigratedTerm], kind: ModelClass, model: Mapping[str, Any], draft: Draft
) -> None:
    """Give each loss to its player."""
    options = section(model, "train_cfg")
    start = whole(options, "pixel_init") or whole(options, "iter_tc")
    placed: dict[str, list[dict[str, Any]]] = {}
    for term in terms:
        role, key = _role(term), term.path.rpartition(".")[2]
        if key in UNPLACED:
            draft.notes.append(
                f"left out {term.path} {_flow(term.config)}: it reads {UNPLACED[key]}, which "
                "`losskit train` does not make"
            )
            continue
        routed = list(_routed(role, key, term, kind, model, draft))
        fed = role == "gan_loss" or any("data_info" in config for config in routed)
        for note in term.notes:  # what a term takes is known where it is routed, or called as usual
            if not note.startswith(
                "takes the outputs" if fed else "takes the outputs pred, target;"
            ):
                draft.notes.append(f"{term.path}: {note}")
        for config in routed:
            if start and not key.startswith(("pixel_loss", "loss_l1")):
                config["start"] = start
            placed.setdefault(role, []).append(config)
    for role in ("gan_loss", "disc_auxiliary_loss", "gen_auxiliary_loss"):
        found = placed.get(role)
        if found:
            draft.losses[role] = found[0] if role == "gan_loss" and len(found) == 1 else found


def _routed(
    role: str,
    key: str,
    term: MigratedTerm,
    kind: ModelClass,
    model: Mapping[str, Any],
    draft: Draft,
) -> Iterator[dict[str, Any]]:
    config = dict(term.config)
    if role == "gan_loss":
        config.pop("data_info", None)
        if config.get("loss_name") in GAN_KEYS:
            del config["loss_name"]
        if config["type"] == "AdvLoss" and "adv_lambda" in model:
            config["loss_weight"] = number(model, "adv_lambda", 1e-3)
        if kind.relativistic and config["type"] == "GANLoss":
            config = relativistic(config, draft.notes)
    elif "data_info" not in config and (
        routes := KEY_ROUTES.get(key) or ROUTES.get(config["type"])
    ):
        config["data_info"] = dict(routes)
    if key == "loss_disc_shift":
        yield from _shifts(config, draft)
    elif key == "loss_composed_percep":
        if kind.composed:
            yield config
        if model.get("loss_out_percep"):
            routes = {"pred": "pred", "target": "target"}
            yield {**config, "loss_name": "loss_out_percep", "data_info": routes}
    elif key == "pixel_loss" and config["type"] == "PerceptualLoss" and "adv_lambda" in model:
        yield from _deblurring(config, draft)
    else:
        if key == "loss_l1_valid" and kind.composed:
            draft.notes.append(
                "loss_l1_valid: the model counts it outside the hole; here it is over the whole image"
            )
        yield config


def _shifts(config: Mapping[str, Any], draft: Draft) -> Iterator[dict[str, Any]]:
    """MMagic's shift penalty of an inpainting model: half for either kind."""
    draft.notes.append(
        "loss_disc_shift: the model squares the mean of a batch's GAN loss; here each logit is squared"
    )
    weight = number(config, "loss_weight", 0.1) / 2  # MMagic's default
    for kind in ("fake", "real"):
        name, routes = f"loss_disc_shift_{kind}", {"pred": f"disc_pred_{kind}"}
        yield {**config, "loss_weight": weight, "loss_name": name, "data_info": routes}


def _deblurring(config: dict[str, Any], draft: Draft) -> Iterator[dict[str, Any]]:
    """DeblurGAN-v2's class: 0.006 of the perceptual loss, and 0.5 of MSE it does not name."""
    draft.notes.append(
        "gen_auxiliary_loss: the model's class adds MSE, after ImageNet's normalisation, which for "
        "images in [-1, 1] is about 4.9 times the plain one"
    )
    weight = number(config, "perceptual_weight", 1.0) * 0.006
    yield {**config, "perceptual_weight": weight, "style_weight": 0.0, "loss_name": "loss_percep"}
    yield {"type": "MSELoss", "loss_weight": 0.5 * 4.9}


def _flow(config: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in config.items()) + "}"
