"""A training config of ``losskit train``, from what a foreign one says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from losskit_lab.migrate.mmagic_models import Task
from losskit_lab.migrate.search import type_of
from losskit_lab.migrate.values import number

_SIZES: Mapping[str, int] = {"generation": 64, "super-resolution": 128}
_SIZE = 256  # of the other tasks
_BUILTIN, _BUILTIN_SIZE = "builtin:photos", 256
#: What torch's optimisers take where a config says nothing; a training config's defaults are others.
_OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "Adam": {"lr": 1e-3, "betas": [0.9, 0.999]},
    "AdamW": {"lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0.01},
    "SGD": {"lr": 1e-3},
}
_KEPT = ("type", "lr", "betas", "weight_decay", "clip_norm")


@dataclass(slots=True)
class Draft:
    """Draft of a training run, from a foreign config.

    Attributes:
        losses: ``preset``, ``loss_config``, ``gan_loss``, ... as the training config has them.
        task: of the data.
        scale: how much larger an output is than its input.
        size: side of the squares that are trained on.
        styled: whether a loss needs a generator that returns latents.
        networks: what the config has for each player, in words.
        data: further keys of ``data``.
        model: further keys of ``model``.
        optimizers: each player's, in the keys of a training config.
        top: further keys of the config itself.
        notes: what has no counterpart, or needs a look.
    """

    losses: dict[str, Any] = field(default_factory=dict)
    task: Task = "generation"
    scale: int = 1
    size: int | None = None
    styled: bool = False
    networks: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def training_config(draft: Draft) -> dict[str, Any]:
    """The training config; adds to the draft's notes what stands in for something else.

    The networks are small ones of losskit-train's, so that the config trains as it is.
    """
    size = draft.size or _SIZES.get(draft.task, _SIZE)
    if draft.task == "super-resolution" and draft.scale == 1:
        draft.task = "paired"
    if draft.task == "paired" and "inputs" not in draft.data:
        draft.notes.append(
            "data: the config names no folders of pairs; put yours in the place of data/inputs and "
            "data/images"
        )
        draft.data |= {"images": "data/images", "inputs": "data/inputs"}
    elif "images" not in draft.data:
        draft.notes.append(
            f"data.images: the config names no folder; {_BUILTIN} stands in for yours"
        )
        size = min(size, _BUILTIN_SIZE)
    size = _fitting(size, draft)
    data: dict[str, Any] = {"images": _BUILTIN, **draft.data, "task": draft.task, "size": size}
    if draft.task == "super-resolution":
        data["scale"] = draft.scale
    config: dict[str, Any] = {"model": _model(draft, size), "data": data, **draft.losses}
    optimizer = _merged(draft.optimizers) | draft.schedule
    if optimizer:
        config["optimizer"] = optimizer
    return config | draft.top


def _fitting(size: int, draft: Draft) -> int:
    """The nearest smaller size that the networks and the scale can have."""
    if draft.task == "generation":
        fitting = 4 << max(size // 4, 1).bit_length() - 1
    else:
        fitting = max(size // draft.scale, 32 // draft.scale, 1) * draft.scale
    if fitting != size:
        draft.notes.append(f"data.size: {fitting}, which the networks here can have, not {size}")
    return fitting


def _model(draft: Draft, size: int) -> dict[str, Any]:
    """Networks of losskit-train's for a task, each noted as a stand-in."""
    networks: dict[str, dict[str, Any]]
    if draft.task == "generation":
        # About as much work at every size: these are stand-ins.
        shape = {"image_size": size, "channels": max(4, min(32, 8192 // size))}
        networks = {
            "generator": {"type": "StyleGenerator" if draft.styled else "DCGANGenerator", **shape},
            "discriminator": {"type": "ResidualDiscriminator", **shape},
        }
    else:
        networks = {
            "generator": {"type": "SuperResolver", "scale": draft.scale},
            "discriminator": {"type": "PatchDiscriminator", "layers": 3 if size >= 64 else 2},
        }
    if not draft.losses.keys() & {"preset", "gan_loss", "disc_auxiliary_loss"}:
        del networks["discriminator"]
        draft.optimizers.pop("discriminator", None)
    for player in networks:
        found = draft.networks.get(player, "the model's own")
        draft.notes.append(
            f"model.{player}: {networks[player]['type']} stands in for {found}; give the class as "
            "'module:Class' with its arguments, and train with --allow-import"
        )
    inputs = ["noise"] if draft.task == "generation" else ["lq"]
    composed = {"compose": True} if draft.task == "inpainting" else {}
    return {**networks, "inputs": inputs, **composed, "ema": 0.0, **draft.model}


def network_in_words(network: Mapping[str, Any]) -> str:
    """A network's class and its plain arguments."""
    plain_ones = {k: v for k, v in network.items() if isinstance(v, (str, int, float, bool))}
    arguments = ", ".join(f"{key}={value!r}" for key, value in plain_ones.items() if key != "type")
    return f"{type_of(network) or 'a network'}({arguments})"


def player_optimizer(found: Mapping[str, Any], where: str, notes: list[str]) -> dict[str, Any]:
    """One optimiser's config in the keys of a training config; other arguments are noted."""
    kind = str(found.get("type", "Adam"))
    for key in found:
        if key not in _KEPT:
            notes.append(
                f"left out {where}.{key}={found[key]!r}: the optimizer here has no such key"
            )
    given = {key: found[key] for key in _KEPT if key in found}
    return {"type": kind, **_OPTIMIZERS.get(kind, {}), **given}


def _merged(optimizers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``optimizer`` with what both players share said once."""
    players = list(optimizers.values())
    shared = {
        key: value
        for key, value in (players[0] if players else {}).items()
        if all(other.get(key) == value for other in players)
    }
    own = {
        player: {key: value for key, value in values.items() if key not in shared}
        for player, values in optimizers.items()
    }
    return {**shared, **{player: values for player, values in own.items() if values}}


def relativistic(term: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """ESRGAN's use of a plain GAN loss, whose code halves the sum of the two parts."""
    kinds = {"vanilla": "ragan", "lsgan": "ralsgan"}
    gan_type = str(term.get("gan_type", "vanilla"))
    if gan_type not in kinds:
        notes.append(
            f"gan_loss: the model compares {gan_type!r} logits with the other kind's mean, for which "
            "there is no loss here; this is the plain one"
        )
        return dict(term)
    notes.append(
        "gan_loss: the model makes its GAN loss a relativistic average and halves it, as here; it "
        "halves the discriminator's too, which Adam does not notice"
    )
    result = {"type": "RelativisticGANLoss", "kind": kinds[gan_type]}
    kept: Iterable[str] = (key for key in ("loss_name", "start") if key in term)
    return {
        **result,
        "loss_weight": number(term, "loss_weight", 1.0) / 2,
        **{k: term[k] for k in kept},
    }
