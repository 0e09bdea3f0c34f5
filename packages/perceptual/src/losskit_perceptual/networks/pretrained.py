"""torchvision's ImageNet weights, with errors that help where there is no internet."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from losskit.backbones import InputNorm
from losskit.errors import WeightsError, nearest
from losskit.spec import NetworkFile
from losskit.text import one_line
from losskit.weights import SUFFIXES, load_weights, random_seed

#: Spellings of "the library's default weights", MMagic's ``torchvision://vgg19`` among them.
_DEFAULTS = ("default", "imagenet", "DEFAULT")


def weights_entry(model: str, weights: str) -> Any:
    """torchvision's entry for a network's weights by their name (``"IMAGENET1K_V1"``).

    Raises:
        ValueError: torchvision has no such weights for this network.
    """
    entries = models.get_model_weights(model)
    if weights in _DEFAULTS or weights.startswith("torchvision://"):
        return entries.DEFAULT
    names = [entry.name for entry in entries]
    if weights not in names:
        raise ValueError(
            f"weights of {model} must be 'default', {', '.join(map(repr, names))}, 'random', "
            f"'random:SEED' or a path ending in {', '.join(SUFFIXES)}, not {weights!r}"
            f"{nearest(weights, ('default', 'random', *names))}"
        )
    return entries[weights]


def is_file(weights: str | Path) -> bool:
    """Return whether ``weights`` means a file."""
    return isinstance(weights, Path) or (
        not weights.startswith("torchvision://") and Path(weights).suffix in SUFFIXES
    )


def check_weights(model: str, weights: str | Path) -> None:
    """Raise ValueError for a name that stands for no weights of a torchvision network."""
    if random_seed(weights) is None and not is_file(weights):
        weights_entry(model, str(weights))


def names() -> list[str]:
    """torchvision's classification networks."""
    found: list[str] = models.list_models(module=models)
    return found


def file_of(name: str) -> NetworkFile:
    """Locate a network's weights, where torchvision keeps them or would put them.

    Args:
        name: ``"resnet50"``, or with the weights' name, ``"resnet50/IMAGENET1K_V1"``.

    Raises:
        ValueError: torchvision has no such network or weights.
    """
    model, _, weights = name.partition("/")
    if model not in models.list_models():
        raise ValueError(f"torchvision has no network {model!r}{nearest(model, names())}")
    return _file(model, weights_entry(model, weights or "default"))


def _file(model: str, entry: Any) -> NetworkFile:
    call = f"torchvision.models.{model}(weights='{entry.name}')"
    return torch_hub_file(entry.url, f'python -c "import torchvision; {call}"')


def torch_hub_file(url: str, fetch: str) -> NetworkFile:
    """A file where ``torch.hub`` keeps what it fetches from an address.

    Args:
        url: the address.
        fetch: a command that fetches it.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    return NetworkFile(str(path), path.is_file(), url, fetch)


def state_dict(model: str, weights: str | Path) -> dict[str, Tensor]:
    """The weights of a torchvision network: a file, or what torchvision's own loader fetches.

    Raises:
        WeightsError: they are not here and cannot be fetched.
    """
    if is_file(weights):
        return load_weights(weights)
    entry = weights_entry(model, str(weights))
    file = _file(model, entry)
    try:
        state: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        path = Path(file.path)
        raise WeightsError(
            f"the weights of {model} need the file {path.name}, which is not in {path.parent} and "
            f"cannot be fetched from {file.source} ({one_line(error)}); on a machine with internet "
            f"run `{file.fetch}` and copy the file to {path.parent}, or give its path as weights="
        ) from error
    return state


def norm_of(model: str, weights: str | Path) -> InputNorm:
    """The mean and std that a torchvision network was trained with."""
    if random_seed(weights) is not None or is_file(weights):
        return InputNorm.imagenet()
    preset = weights_entry(model, str(weights)).transforms()
    return InputNorm(tuple(preset.mean), tuple(preset.std))


def load_into(
    network: nn.Module, model: str, weights: str | Path, *, prefix: str = ""
) -> nn.Module:
    """Fill a network, or leave it as it was initialised for ``"random"``.

    Args:
        network: may be a part of the published one.
        model: the published network.
        weights: as the losses take it.
        prefix: where the part's weights lie in the published state dict (``"features."``); a state
            dict of the part alone is taken too.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    if random_seed(weights) is not None:
        return network
    state = state_dict(model, weights)
    if prefix and any(key.startswith(prefix) for key in state):
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"the weights {str(weights)!r} do not fit {model}: {one_line(error)[:300]}"
        ) from error
    return network


def seed_for(weights: str | Path) -> None:
    """Seed torch for ``"random:SEED"``; call it in a build function, before making layers."""
    seed = random_seed(weights)
    if seed is not None:
        torch.default_generator.manual_seed(seed)
