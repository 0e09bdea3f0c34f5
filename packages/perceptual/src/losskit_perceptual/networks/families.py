"""The families of backbones: torchvision's, timm's, and networks that packages ship."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torchvision import models

from losskit.backbones import BackboneRecipe, FeatureNetwork, InputNorm, backbone_recipe
from losskit.errors import WeightsError, nearest
from losskit.spec import NetworkFile
from losskit.text import one_line
from losskit.weights import hub_file, load_weights, random_seed
from losskit_perceptual.networks import packaged, sequential, vgg
from losskit_perceptual.networks.graph import as_feature_network
from losskit_perceptual.networks.pretrained import (
    check_weights,
    is_file,
    load_into,
    norm_of,
    seed_for,
    torch_hub_file,
)


def find_recipe(backbone: str | nn.Module, weights: str | Path = "default") -> BackboneRecipe:
    """Find the recipe for sharing the network that a loss is to use.

    Args:
        backbone: ``"vgg19"`` or another torchvision name; ``"timm/NAME"``; ``"efficientnet-lite0"``
            (the real one that a package ships); ``"family/NAME"`` of another plugin; or a module,
            of which a frozen copy is taken, so that what becomes of yours changes nothing.
        weights: what that family takes; for a module it is left as ``"default"``.

    Raises:
        ValueError: there is no such network.
        TypeError: ``backbone`` or ``weights`` is of another kind.
    """
    if not isinstance(weights, (str, Path)):
        raise TypeError(f"weights must be a name or a path, not {weights!r}")
    if isinstance(backbone, nn.Module):
        return BackboneRecipe(build_given, (backbone,))
    if not isinstance(backbone, str):
        raise TypeError(f"backbone must be a name or a module, not {backbone!r}")
    if backbone in packaged.NAMES:
        return packaged.packaged_recipe(backbone, weights)
    family, slash, name = backbone.partition("/")
    if not slash:
        return torchvision_recipe(backbone, weights)
    own = _OWN.get(family)  # needs no discovery
    return own(name, weights) if own else backbone_recipe(backbone, weights)


def build_given(module: nn.Module) -> FeatureNetwork:
    """Make a trunk of a caller's network; for ``shared_backbone``."""
    return as_feature_network(copy.deepcopy(module))


def torchvision_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """A torchvision classification network.

    Raises:
        ValueError: torchvision has no such network or weights.
    """
    if name in vgg.NAMES:
        return vgg.vgg_recipe(name, weights)
    if name in sequential.NAMES:
        return sequential.sequential_recipe(name, weights)
    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(
            f"there is no backbone {name!r}{nearest(name, [*known, *packaged.NAMES])}; give a "
            "torchvision name, 'timm/NAME', 'efficientnet-lite0' or a module"
        )
    check_weights(name, weights)
    return BackboneRecipe(build_torchvision, (name, weights), norm_of(name, weights))


def build_torchvision(name: str, weights: str | Path) -> FeatureNetwork:
    """Make a torchvision network; for ``shared_backbone``."""
    seed_for(weights)
    # Inception and GoogLeNet would else transform their input a second time.
    extra = {"transform_input": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **extra)
    return as_feature_network(load_into(model, name, weights))


def timm_recipe(name: str, weights: str | Path = "default") -> BackboneRecipe:
    """A timm network, token models such as DINOv2 too.

    Raises:
        ValueError: timm has no such network.
        ModuleNotFoundError: timm is not installed.
    """
    timm = _timm()
    base = name.split(".", 1)[0]
    if not timm.is_model(base):
        raise ValueError(f"timm has no network {name!r}{nearest(base, timm.list_models())}")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return BackboneRecipe(build_timm, (name, weights), InputNorm.imagenet())
    return BackboneRecipe(
        build_timm, (name, weights), InputNorm(tuple(config.mean), tuple(config.std))
    )


def timm_file(name: str) -> NetworkFile:
    """Locate a timm network's weights, or the address they come from.

    Raises:
        ValueError: timm has no such network, or no weights for it.
        ModuleNotFoundError: timm is not installed.
    """
    timm = _timm()
    timm_recipe(name)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    fetch = f"python -c \"import timm; timm.create_model('{name}', pretrained=True)\""
    if config is not None and config.hf_hub_id:
        return hub_file(config.hf_hub_id, _timm_files(config.hf_hub_filename), fetch)
    if config is None or not config.url:
        raise ValueError(f"timm has no weights for {name!r}")
    return torch_hub_file(config.url, fetch)


def timm_names() -> list[str]:
    """timm's networks that have weights, with their tags.

    Raises:
        ModuleNotFoundError: timm is not installed.
    """
    names: list[str] = _timm().list_pretrained()
    return names


def _timm_files(named: str | None) -> tuple[str, ...]:
    """List the file names that timm looks for in a repository, in its order."""
    if not named:
        return "model.safetensors", "pytorch_model.bin"
    return (f"{named[:-4]}.safetensors", named) if named.endswith(".bin") else (named,)


def build_timm(name: str, weights: str | Path) -> FeatureNetwork:
    """Make a timm network; for ``shared_backbone``."""
    timm = _timm()
    seed_for(weights)
    pretrained = random_seed(weights) is None and not is_file(weights)
    if pretrained and weights != "default":
        raise ValueError(
            f"weights of a timm network must be 'default', 'random', 'random:SEED' or a path, not "
            f"{weights!r}; timm names weights by a tag: 'timm/{name.split('.', 1)[0]}.TAG'"
        )
    options: dict[str, object] = {"pretrained": pretrained, "num_classes": 0}
    try:
        model = _any_size(timm, name, options)
    except Exception as error:
        if not pretrained:
            raise
        raise WeightsError(
            f"timm cannot fetch the weights of {name!r} ({one_line(error)[:200]}); on a machine with "
            f"internet run `python -c \"import timm; timm.create_model('{name}', pretrained=True)\"`"
            " and copy the Hugging Face cache, or give a path as weights="
        ) from error
    if is_file(weights):
        missing, _ = model.load_state_dict(load_weights(weights), strict=False)
        if missing:
            raise WeightsError(f"{str(weights)!r} lacks {missing[0]!r} of timm's {name}")
    return as_feature_network(model)


def _any_size(timm: Any, name: str, options: Mapping[str, object]) -> Any:
    """A network that takes images of any size, not only of that it was trained at, if it can."""
    for more in ({"dynamic_img_size": True, "dynamic_img_pad": True}, {"strict_img_size": False}):
        try:
            return timm.create_model(name, **options, **more)
        except TypeError as error:  # networks take one of these options, or none
            if "unexpected keyword argument" not in str(error):
                raise
    return timm.create_model(name, **options)


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "backbone 'timm/...' needs timm: pip install 'losskit-perceptual[timm]'", name="timm"
        ) from error
    return timm


_OWN: Mapping[str, Callable[[str, str | Path], BackboneRecipe]] = {
    "torchvision": torchvision_recipe,
    "timm": timm_recipe,
    "packaged": packaged.packaged_recipe,
}
