"""One trial step on copies, before anything is written: shapes and routes are found wrong here."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from types import TracebackType

import numpy as np
import torch

from losskit.errors import ConfigError
from losskit.objectives.schedule import Schedule
from losskit.objectives.term import Term
from losskit.text import one_line
from losskit_gan.model.customized import GANWithCustomizedLoss
from losskit_train.config.training import TrainConfig
from losskit_train.data.samples import batches
from losskit_train.data.sources import Source

_SAMPLES = 2  # the smallest batch that batch statistics and shrunk batches accept


def rehearse(model: GANWithCustomizedLoss, source: Source, config: TrainConfig) -> None:
    """Make one step of both players on the CPU with copies of all that a step changes.

    The random state is left as it was.

    Raises:
        ConfigError: a network cannot be copied, or the step fails; the message names the player and the term.
    """
    try:
        model = copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            "a network cannot be copied, which a trial step and the average of weights need: "
            f"{one_line(error):.200} (instead of torch.nn.utils.weight_norm or spectral_norm take "
            "those of torch.nn.utils.parametrizations)"
        ) from error
    for term in model.modules():
        if isinstance(term, Term):
            term.schedule = Schedule()  # those that begin late too
    model.accumulate = model.generator_steps = model.discriminator_steps = 1
    data = replace(config.data, batch_size=min(config.data.batch_size, _SAMPLES), workers=0)
    optimizers = {
        player: torch.optim.SGD(network.parameters(), lr=0.0)
        for player in ("generator", "discriminator")
        if (network := getattr(model, player)) is not None
    }
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            batch = next(batches(source, data, seed=config.seed, start=0))
            batch.pop("skipped")
            model.train_step(batch, optimizers)
    except (ValueError, TypeError, RuntimeError, KeyError, ArithmeticError) as error:
        where = _culprit(error.__traceback__)
        raise ConfigError(f"a trial step failed{where}: {one_line(error)[:400]}") from error
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def check_compiler(device: torch.device) -> None:
    """Compile one addition, for which ``torch.compile`` needs all that it needs for a network.

    Raises:
        ConfigError: it fails on such a device, as without a C++ compiler.
    """
    try:
        torch.compile(_added)(torch.ones(2, device=device))
    except Exception as error:  # the compiler raises what it likes
        raise compiler_fails(error) from error


def _added(value: torch.Tensor) -> torch.Tensor:
    return value + 1


def compiler_fails(error: Exception) -> ConfigError:
    """The error for what ``torch.compile`` raised."""
    return ConfigError(
        "model.compile: torch.compile fails here, take model.compile: false: "
        + one_line(error)[:300]
    )


def _culprit(traceback: TracebackType | None) -> str:
    """The player and the term that a step was at, read off the traceback."""
    player, term = "", ""
    while traceback is not None:
        local = traceback.tb_frame.f_locals
        if isinstance(local.get("player"), str):
            player = f" at the {local['player']}"
        if isinstance(local.get("term"), Term):
            term = f", {local['term'].name} ({local['term'].type_name})"
        traceback = traceback.tb_next
    return player + term
