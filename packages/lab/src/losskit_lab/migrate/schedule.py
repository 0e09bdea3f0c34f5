"""MMagic's optimisers, schedules and loops in the keys of a training config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from losskit_lab.migrate.python_config import PythonConfig
from losskit_lab.migrate.search import type_of
from losskit_lab.migrate.term import plain, unresolved
from losskit_lab.migrate.training import Draft, player_optimizer
from losskit_lab.migrate.values import number, section, whole

_PLAYERS = {
    "generator": ("generator", "generators", "gen"),
    "discriminator": ("discriminator", "discriminators", "disc"),
}
#: Keys of a wrapper that say nothing of the update.
_SILENT = ("type", "optimizer", "constructor", "clip_grad", "_delete_", "loss_scale", "dtype")


def read_optimization(config: PythonConfig, model: Mapping[str, Any], draft: Draft) -> None:
    """Carry over optimisers, schedule, numbers of steps, seed and averages of weights."""
    options = section(model, "train_cfg")
    repeat = whole(options, "disc_repeat", 1)
    _steps(config, model, options, repeat, draft)
    _optimizers(section(config.values, "optim_wrapper"), draft)
    read_schedule(config.values.get("param_scheduler"), draft, by_epoch=True, times=repeat)
    _average(config, model, draft)
    randomness = section(config.values, "randomness")
    if seed := whole(randomness, "seed"):
        draft.top["seed"] = seed
    if randomness.get("deterministic") is True:
        draft.top["deterministic"] = True
    if section(model, "generator", "init_cfg").get("type") == "Pretrained":
        draft.notes.append("the generator begins from weights: model.warm_start takes a checkpoint")


def _steps(
    config: PythonConfig,
    model: Mapping[str, Any],
    options: Mapping[str, Any],
    repeat: int,
    draft: Draft,
) -> None:
    loop = section(config.values, "train_cfg")
    if steps := whole(loop, "max_iters"):
        draft.top["steps"] = steps * repeat
    else:
        draft.notes.append(
            f"steps: the config counts no iterations (max_epochs={loop.get('max_epochs')}); set them"
        )
    updates = whole(options, "disc_steps") or whole(options, "disc_step")
    discriminator = max(updates, whole(model, "discriminator_steps"), 1) * repeat
    if discriminator > 1 or isinstance(draft.losses.get("preset"), str):
        draft.top["discriminator_steps"] = discriminator
    if repeat > 1:
        draft.notes.append(
            f"discriminator_steps: the model updates its discriminator {repeat} times with one batch; "
            "here each update has its own, and counts as a step"
        )
    if (updates := whole(model, "generator_steps")) > 1:
        draft.top["generator_steps"] = updates
    for key in ("disc_init_steps", "iter_td"):
        if options.get(key):
            draft.notes.append(
                f"left out model.train_cfg.{key}={options[key]}: both players start at once"
            )


def _optimizers(wrapper: Mapping[str, Any], draft: Draft) -> None:
    known = {alias: player for player, aliases in _PLAYERS.items() for alias in aliases}
    given = {key: w for key, w in wrapper.items() if section(w, "optimizer")}
    if not given and section(wrapper, "optimizer"):
        given = {"generator": wrapper, "discriminator": wrapper}
    for key, own in given.items():
        where = f"optim_wrapper.{key}"
        if key not in known:
            draft.notes.append(f"left out {where}: there are two players here")
            continue
        found = dict(own["optimizer"])
        for argument in [name for name, value in found.items() if any(unresolved(value))]:
            draft.notes.append(f"left out {where}.{argument}={found.pop(argument)}: no constant")
        if norm := number(section(own, "clip_grad"), "max_norm", 0.0):
            found["clip_norm"] = norm
        draft.optimizers[known[key]] = player_optimizer(plain(found), where, draft.notes)
        if "Amp" in str(own.get("type")):
            draft.top["fabric"] = {"precision": "16-mixed"}
        for name in own:
            if name not in _SILENT:
                draft.notes.append(f"left out {where}.{name}={plain(own[name])!r}")


#: Schedulers that go down in steps, and the argument that counts in them.
_STEPWISE = {"MultiStepLR": "milestones", "StepLR": "step_size"}


def read_schedule(found: Any, draft: Draft, *, by_epoch: bool, times: int = 1) -> None:
    """Carry over how the learning rate goes, or note it.

    Args:
        found: a scheduler's config, or several.
        draft: what is known of the training, its number of steps among it.
        by_epoch: whether a scheduler that does not say counts epochs, which here are none.
        times: steps here in an iteration of the config.
    """
    for entry in _schedulers(found):
        counted = not entry.get("by_epoch", by_epoch)
        carried = _carried(entry, draft.top.get("steps", 0), times) if counted else {}
        draft.schedule |= carried
        if not carried:
            shown = {key: value for key, value in plain(entry).items() if key != "_delete_"}
            draft.notes.append(f"left out the schedule {shown!r}: there is none like it here")


def _carried(entry: Mapping[str, Any], steps: int, times: int) -> dict[str, Any]:
    """A scheduler in the keys of ``optimizer``; nothing where there is none of the kind."""
    kind, end = type_of(entry) or "", number(entry, "end_factor", 1.0)
    if kind in _STEPWISE:
        return _stepwise(kind, entry, times)
    if kind.startswith("Cosine"):
        periods = entry.get("periods", [entry.get("T_max")])
        whole_run = isinstance(periods, (list, tuple)) and len(periods) == 1
        whole_run = whole_run and whole({"period": periods[0]}, "period") * times == steps
        return {"schedule": "cosine"} if whole_run else {}
    if not kind.startswith("Linear") or ("begin" in entry and entry["begin"] != 0):
        return {}
    length = whole(entry, "end") * times or steps
    if end == 1:
        return {"warmup": length}
    return {"schedule": "linear"} if end < 1e-3 and length == steps else {}


def _stepwise(kind: str, entry: Mapping[str, Any], times: int) -> dict[str, Any]:
    """torch's own scheduler of the same name, at the same iterations."""
    counted = _STEPWISE[kind]
    given = {
        key: value
        for key, value in entry.items()
        if key != "_delete_" and (value or key not in ("begin", "verbose"))
    }
    steps = given.get(counted)
    several = isinstance(steps, (list, tuple))
    if not isinstance(steps, (list, tuple)):
        steps = [steps]
    at = [whole({"step": step}, "step") * times for step in steps]
    known = {"type", "by_epoch", "gamma", counted}
    if not (given.keys() <= known and all(at)) or several != (kind == "MultiStepLR"):
        return {}
    gamma = number(given, "gamma", 0.1)
    return {"schedule": {"type": kind, counted: at if several else at[0], "gamma": gamma}}


def _schedulers(found: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(found, Mapping):
        if "type" in found:
            yield found
        else:
            for entry in found.values():
                yield from _schedulers(entry)
    elif isinstance(found, (list, tuple)):
        for entry in found:
            yield from _schedulers(entry)


def _average(config: PythonConfig, model: Mapping[str, Any], draft: Draft) -> None:
    """The moving average of the generator's weights: its decay is one less the momentum."""
    average = section(model, "ema_config")
    hooks = config.values.get("custom_hooks")
    for hook in hooks if isinstance(hooks, (list, tuple)) else ():
        if isinstance(hook, Mapping) and "ExponentialMovingAverage" in (type_of(hook) or ""):
            average = {**hook, **section(hook, "interp_cfg")}
    if not average:
        return
    momentum, interval = number(average, "momentum", 2e-4), whole(average, "interval", 1)
    if "RampUp" in (type_of(average) or ""):
        draft.notes.append(f"model.ema: the model's {type_of(average)} grows; here it is one decay")
        draft.model["ema"] = 0.999
        return
    draft.model["ema"] = round(max(0.0, 1 - momentum) ** (1 / interval), 8)
    if start := whole(average, "start_iter"):
        draft.model["ema_start"] = start
