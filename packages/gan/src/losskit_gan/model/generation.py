"""Inputs of a generator, and the names of its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from losskit.errors import ConfigError, MissingOutputError, nearest


def generator_inputs(
    inputs: Sequence[str], batch: Mapping[str, Any], latent_dim: int | None
) -> dict[str, Any]:
    """The entries of a batch that ``inputs`` names; ``noise`` is drawn unless the batch has it.

    Raises:
        MissingOutputError: the batch lacks one.
    """
    given: dict[str, Any] = {}
    for name in inputs:
        if name in batch:
            given[name] = batch[name]
        elif name == "noise":
            like = batch["real_imgs"]
            given[name] = torch.randn(
                len(like), int(latent_dim or 0), device=like.device, dtype=like.dtype
            )
        else:
            raise MissingOutputError(
                f"the generator takes {name!r}, which is not in the batch"
                f"{nearest(name, batch)}; it has {', '.join(batch)}"
            )
    return given


#: What the model itself puts among the outputs.
_TAKEN = frozenset(
    {"iteration", "batch_size", "gen", "disc", "pred", "fake_imgs", "latents", "last_layer"}
    | {"real_imgs", "target", "noise", "disc_pred_fake", "disc_pred_fake_g", "disc_pred_real"}
)


def named_outputs(output: Any, batch: Iterable[str] = ()) -> dict[str, Any]:
    """A generator's answer by name: ``pred``, perhaps ``latents``, and what else it names itself.

    Args:
        output: an image; an image and its latents; or a mapping of ``fake_img``, perhaps
            ``latent`` (MMagic's names), and whatever else losses are to read.
        batch: the names that are taken, besides the model's own.

    Raises:
        MissingOutputError: a mapping without ``fake_img``.
        ConfigError: it uses a name that means something else already.
    """
    if isinstance(output, tuple):
        image, latents = output
        return {"pred": image, "latents": latents}
    if not isinstance(output, Mapping):
        return {"pred": output}
    named = {str(name): value for name, value in output.items()}
    if "fake_img" not in named:
        raise MissingOutputError(
            f"the generator's mapping lacks 'fake_img'{nearest('fake_img', named)}; it has "
            f"{', '.join(named) or 'nothing'}"
        )
    taken = sorted(named.keys() & (_TAKEN | set(batch)))
    if taken:
        raise ConfigError(
            f"the generator's mapping names {', '.join(map(repr, taken))}, which losses know as "
            "something else: choose another name"
        )
    named["pred"] = named.pop("fake_img")
    if "latent" in named:
        named["latents"] = named.pop("latent")
    return named
