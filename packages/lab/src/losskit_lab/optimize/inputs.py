"""Starting points of ``losskit optimize``: pictures, noise, or a network's latent."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import ConfigError
from losskit.images.pixels import read_image
from losskit.objectives.scoring import one_line_errors

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_network(arguments: argparse.Namespace) -> nn.Module | None:
    """The network whose latent is optimised, as ``--latent-network`` names it.

    Raises:
        ConfigError: it may not be imported, is misspelt, or is no network; or a start is given that
            it has no use for.
    """
    if arguments.latent_network is None:
        return None
    if arguments.init != "noise":
        raise ConfigError(
            f"--init {arguments.init} does not go with --latent-network, whose latent starts from "
            "noise (--seed): leave --init out; the image to match is --target IMAGE, and others "
            "are --input NAME=IMAGE"
        )
    if not arguments.allow_import:
        raise ConfigError(
            f"--latent-network {arguments.latent_network!r} runs that module's code: "
            "add --allow-import if you trust it"
        )
    if ":" not in arguments.latent_network:
        raise ConfigError(
            f"--latent-network must be MODULE:FACTORY, not {arguments.latent_network!r}"
        )
    from torch import nn

    from losskit.discovery.targets import resolve_target

    sys.path.insert(0, str(Path.cwd()))
    with one_line_errors(f"--latent-network {arguments.latent_network}"):
        network = resolve_target(arguments.latent_network)()
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{arguments.latent_network} must return a torch.nn.Module, not {network!r:.80}"
        )
    return network.to(arguments.device).eval().requires_grad_(False)


def load_images(arguments: argparse.Namespace, network: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Load the starting point, and the constant outputs: pictures at the size of the one optimised.

    But those of ``--own-size`` keep their shape.

    Raises:
        ConfigError: the options leave the start or its size open.
        LosskitError: a picture cannot be read.
    """
    import torch

    low, high = arguments.range
    fit: tuple[int, int] | int | None = arguments.size
    init: Tensor | None = None
    if network is not None:
        init = torch.randn(_latent_shape(arguments, network))
        called = f"{arguments.latent_network} on a latent of {tuple(init.shape)}"
        with one_line_errors(called), torch.no_grad():
            made = network(init.to(arguments.device))
        if made.ndim != 4:
            raise ConfigError(
                f"{arguments.latent_network} must make images (b, c, h, w), not {tuple(made.shape)}"
            )
        fit = (made.shape[2], made.shape[3])
    elif arguments.init not in ("noise", "target"):
        init = read_image(Path(arguments.init), size=fit)
        fit = (init.shape[2], init.shape[3])
    outputs: dict[str, Tensor] = {}
    own = set(arguments.own_size)
    if arguments.target is not None:
        size = arguments.size if "target" in own else fit
        outputs["target"] = read_image(arguments.target, size=size)
        if "target" not in own or arguments.init == "target":
            fit = (outputs["target"].shape[2], outputs["target"].shape[3])
    for text in arguments.input:
        name, equals, path = text.partition("=")
        if not equals or name in ("pred", "init", "target", "iteration"):
            raise ConfigError(f"--input must be NAME=IMAGE with a name of its own, not {text!r}")
        outputs[name] = read_image(Path(path), size=arguments.size if name in own else fit)
    for name in sorted(own - set(outputs)):
        raise ConfigError(f"--own-size {name}: there is no such --input, or no --target")
    if init is None and arguments.init == "target":
        if "target" not in outputs:
            raise ConfigError("--init target needs --target IMAGE")
        init = outputs["target"]
    if init is None:
        if isinstance(fit, int):
            fit = (fit, fit)
        if fit is None:
            raise ConfigError(
                "--init noise needs --target IMAGE at its size, or --size PX for a square"
            )
        init = (0.5 + 0.1 * torch.randn(1, 3, *fit)).clamp(0, 1)
    outputs = {
        name: (image * (high - low) + low).to(arguments.device) for name, image in outputs.items()
    }
    if network is not None:
        return init.to(arguments.device), outputs
    init = (init * (high - low) + low).to(arguments.device)
    return init, {**outputs, "init": init}


def _latent_shape(arguments: argparse.Namespace, network: Any) -> tuple[int, ...]:
    if arguments.latent_shape is None:
        shape = getattr(network, "latent_shape", None)
        if shape is None:
            raise ConfigError("the network has no latent_shape: give --latent-shape 1,512")
        return tuple(shape)
    try:
        return tuple(int(part) for part in arguments.latent_shape.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--latent-shape must be whole numbers, not {arguments.latent_shape!r}"
        ) from error
