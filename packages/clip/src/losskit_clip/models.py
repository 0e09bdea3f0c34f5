"""open_clip models by name: told apart, loaded, and explained when they cannot be had."""

from __future__ import annotations

import copy
import logging
import socket
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg
from torch import Tensor, nn

from losskit.errors import WeightsError, nearest
from losskit.spec import NetworkFile
from losskit.text import one_line
from losskit.weights import SUFFIXES, hub_file, random_seed

DEFAULT_WEIGHTS = "openai"
Tokenizer = Callable[[list[str]], Tensor]
_REMOTE = ("hf-hub:", "local-dir:")


def check_model(
    model: str | nn.Module, weights: str | Path | None
) -> tuple[str | nn.Module, str | None]:
    """The model's open_clip name (``"ViT-B/32"`` → ``"ViT-B-32"``) and the weights' tag or path.

    Raises:
        ValueError: no such model or tag; the message names the nearest.
        TypeError: ``model`` is neither a name nor a module, or ``weights`` no name or path.
    """
    if isinstance(model, nn.Module):
        if weights is not None:
            raise ValueError(
                f"weights={weights!r} does not go with a model that is given as an object: "
                "load them into it, and leave weights out"
            )
        if not hasattr(model, "visual") or not hasattr(model, "encode_text"):
            raise TypeError(
                f"model must be an open_clip model (with visual and encode_text), not "
                f"{type(model).__name__}"
            )
        return model, None
    if not isinstance(model, str):
        raise TypeError(f"model must be an open_clip name or model, not {model!r}")
    if weights is not None and not isinstance(weights, (str, Path)):
        raise TypeError(f"weights must be a tag, a path or 'random', not {weights!r}")
    weights = None if weights is None else str(weights)
    if weights is not None and weights.startswith("~"):
        weights = str(Path(weights).expanduser())
    if model.startswith(_REMOTE):
        return model, weights
    name, known = model.replace("/", "-"), open_clip.list_models()
    if name not in known:
        raise ValueError(
            f"model {model!r} is not one of open_clip's{nearest(name, known)}; "
            "open_clip.list_models() lists them"
        )
    tag = weights if weights is not None else DEFAULT_WEIGHTS
    if _is_file(tag) or random_seed(tag) is not None or get_pretrained_cfg(name, tag):
        return name, tag
    tags = open_clip.list_pretrained_tags_by_model(name)
    raise ValueError(
        f"weights {tag!r} are not known for model {name!r}{nearest(tag, tags)}; "
        f"give one of {', '.join(tags) or 'no tags'}, a path ending in {', '.join(SUFFIXES)}, "
        "or 'random'"
    )


def _is_file(weights: str) -> bool:
    return Path(weights).suffix in SUFFIXES or Path(weights).is_file()


def load_model(model: str | nn.Module, weights: str | None) -> nn.Module:
    """The model, loaded; an object is copied, so that freezing the copy leaves it alone.

    Raises:
        WeightsError: the weights cannot be had; the message holds the command that fetches them.
    """
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    seed = random_seed(weights)
    if seed is not None:
        torch.manual_seed(seed)
        try:
            return _create_random(model)
        except Exception as error:  # a text tower whose very layout is fetched
            raise _cannot_fetch(model, None, one_line(error)[:200]) from error
    options: dict[str, Any] = {}
    if weights is not None and not _is_file(weights):
        config = get_pretrained_cfg(model, weights)
        # Weights trained with QuickGELU give other numbers without it, and open_clip only warns.
        options["force_quick_gelu"] = bool(config.get("quick_gelu"))
        _check_reachable(model, weights, config)
    elif weights is not None and not Path(weights).is_file():
        raise WeightsError(f"there is no weights file {weights!r} for model {model!r}")
    elif weights is not None:
        _check_activation(model, weights)
    try:
        made: nn.Module = open_clip.create_model(model, pretrained=weights, **options)
        return made
    except Exception as error:
        if weights is not None and _is_file(weights):
            raise WeightsError(
                f"{weights!r} is no checkpoint of model {model!r} ({type(error).__name__}: "
                f"{one_line(error)[:200]})"
            ) from error
        raise _cannot_fetch(model, weights, one_line(error)[:200]) from error


def _check_activation(model: str, path: str) -> None:
    """OpenAI's files, TorchScript archives, were trained with QuickGELU; GELU gives other numbers."""
    twin = f"{model}-quickgelu"
    config = open_clip.get_model_config(model) or {}
    if not config.get("quick_gelu") and twin in open_clip.list_models() and _is_torchscript(path):
        raise WeightsError(
            f"{path!r} holds OpenAI's weights, which were trained with QuickGELU: take "
            f"model={twin!r}, not {model!r}"
        )


def _is_torchscript(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _create_random(model: str) -> nn.Module:
    # open_clip warns that the weights are random, which is what was asked for.
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        made: nn.Module = open_clip.create_model(model, pretrained=None, pretrained_text=False)
        return made
    finally:
        logging.disable(before)


def names() -> list[str]:
    """open_clip's models with the tags of their weights, ``"ViT-B-32/openai"``."""
    return [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()]


def file_of(name: str) -> NetworkFile:
    """Locate a model's weights, where open_clip keeps them or would put them.

    Args:
        name: ``"ViT-B-32"`` (OpenAI's weights), or with a tag, ``"ViT-B-32/laion2b_s34b_b79k"``.

    Raises:
        ValueError: open_clip has no such model, or no such weights for it.
    """
    given, _, weights = name.partition("/")
    model, tag = check_model(given, weights or None)
    assert isinstance(model, str)
    if tag is None or not (config := get_pretrained_cfg(model, tag)):
        raise ValueError(f"{name!r} names no weights that are published")
    return _file(model, tag, config)


def _file(model: str, tag: str, config: dict[str, Any]) -> NetworkFile:
    fetch = _command(model, tag)
    repository, _, file = str(config.get("hf_hub", "")).rpartition("/")
    if repository:
        return hub_file(repository, _hub_names(file), fetch)
    address = str(config.get("url", ""))
    cached = Path("~/.cache/clip").expanduser() / Path(urlsplit(address).path).name
    return NetworkFile(str(cached), cached.is_file(), address, fetch)


def _hub_names(named: str) -> tuple[str, ...]:
    """List the file names that open_clip looks for in a repository, in its order."""
    if not named:
        return "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
    if named.endswith((".bin", ".pth")):
        return f"{named[:-4]}.safetensors", named
    return (named,)


def _check_reachable(model: str, tag: str, config: dict[str, Any]) -> None:
    """Fail at once without internet; huggingface_hub would retry for a minute first."""
    from huggingface_hub import constants

    file = _file(model, tag, config)
    if file.here:
        return
    if config.get("hf_hub") and constants.HF_HUB_OFFLINE:
        raise _cannot_fetch(model, tag, "HF_HUB_OFFLINE is set and they are not in the cache")
    if why := _unreachable(file.source):
        raise _cannot_fetch(model, tag, why)


def _unreachable(address: str) -> str:
    """Explain why nothing can be fetched from ``address``; return "" where fetching may be possible."""
    host = urlsplit(address).hostname
    if host is None or urllib.request.getproxies():  # a proxy resolves names itself
        return ""
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        return f"{host} cannot be reached: {one_line(error)}"
    return ""


def _command(model: str, tag: str | None) -> str:
    given = "" if tag is None else f", pretrained={tag!r}"
    return f'python -c "import open_clip; open_clip.create_model({model!r}{given})"'


def _cannot_fetch(model: str, tag: str | None, why: str) -> WeightsError:
    what = f"the weights {tag!r}" if tag is not None else "what random weights need"
    return WeightsError(
        f"{what} of model {model!r} cannot be had: {why}; fetch them where there is "
        f"internet with: {_command(model, tag)} and "
        "copy that machine's ~/.cache here, or give weights= a path"
    )


def tokenizer_for(model: str | nn.Module, tokenizer: Tokenizer | None = None) -> Tokenizer:
    """The model's tokenizer, or the one given.

    Raises:
        ValueError: a model object has a vocabulary other than CLIP's and no tokenizer is given.
        WeightsError: the tokenizer's files would have to be fetched and cannot be.
    """
    if tokenizer is not None:
        return tokenizer
    if isinstance(model, str):
        try:
            _check_tokenizer(model)
            its_own: Tokenizer = open_clip.get_tokenizer(model)
            return its_own
        except Exception as error:
            raise WeightsError(
                f"the tokenizer of model {model!r} cannot be had: {one_line(error)[:200]}; fetch it "
                f"where there is internet with open_clip.get_tokenizer({model!r}), or give tokenizer="
            ) from error
    text = getattr(model, "text", model)
    clip_tokenizer: Any = open_clip.SimpleTokenizer(
        context_length=getattr(text, "context_length", 77)
    )
    size = getattr(text, "vocab_size", clip_tokenizer.vocab_size)
    if size != clip_tokenizer.vocab_size:
        raise ValueError(
            f"the model's vocabulary has {size!r} entries, CLIP's has {clip_tokenizer.vocab_size}: "
            "give tokenizer=, or tokens instead of strings"
        )
    plain: Tokenizer = clip_tokenizer
    return plain


def _check_tokenizer(model: str) -> None:
    """Fail at once where a tokenizer would be fetched and cannot be; see ``_check_reachable``."""
    from huggingface_hub import constants, try_to_load_from_cache

    config = open_clip.get_model_config(model) or {}
    repository = config.get("text_cfg", {}).get("hf_tokenizer_name")
    if not repository:
        return
    if isinstance(try_to_load_from_cache(repository, "tokenizer_config.json"), str):
        return
    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set and it is not in the cache")
    if why := _unreachable(constants.ENDPOINT):
        raise OSError(why)
