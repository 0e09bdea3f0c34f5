"""``losskit optimize OBJECTIVE``: descend on an image under an objective."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.cli.arguments import check_least, parse_range
from losskit.cli.listing import add_json, print_json
from losskit.cli.progress import interrupt, let_threads_sleep, progress_of
from losskit.errors import LosskitError
from losskit.images.pixels import require_images
from losskit.objectives.scoring import check_device, one_line_errors
from losskit_lab.optimize.inputs import load_images, load_network

if TYPE_CHECKING:
    from torch import Tensor

    from losskit_lab.optimize.run import Run


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit optimize``."""
    parser.description = (
        "Descend on an image under an objective. Its terms see the outputs 'pred' (the image), "
        "'init' (where it started), 'target', 'iteration', and one for each --input."
    )
    add = parser.add_argument
    add("objective", type=Path, help="a config with 'terms' (YAML, JSON, TOML)")
    add("--init", default="noise", metavar="IMAGE", help="an image, 'noise' (default) or 'target'")
    add("--target", type=Path, metavar="IMAGE", help="the image the terms compare with")
    add("--input", action="append", default=[], metavar="NAME=IMAGE", help="one more output")
    add("--steps", type=int, default=300, help="steps in all (default 300)")
    add("--optimizer", choices=("adam", "lbfgs"), default="adam")
    add("--lr", type=float, help="step length (default: 0.02 for Adam, 1 for L-BFGS)")
    add("--size", type=int, metavar="PX", help="scale the shorter side to this many pixels")
    add(
        "--own-size",
        action="append",
        default=[],
        metavar="NAME",
        help="do not crop this input ('target', or an --input's name) to the image's shape: for "
        "losses that compare pictures of any size, as those of style do",
    )
    add(
        "--range",
        type=parse_range,
        default=(0.0, 1.0),
        metavar="LOW,HIGH",
        help="the values the losses get for black and white: 0,1 (default), or --range=-1,1",
    )
    add("--seed", type=int, default=0, help="of the noise, and of losses that draw numbers")
    add("--every", type=int, help="steps between snapshots (default: 40 in all)")
    add("--animation", choices=("gif", "webp", "none"), default="gif")
    add("--out", type=Path, default=Path("optimized"), metavar="DIR", help="default: optimized")
    add("--resume", action="store_true", help="go on with the run in DIR; all else as it was")
    add("--latent-network", metavar="MODULE:FACTORY", help="descend on this network's latent")
    add("--latent-shape", metavar="1,512", help="default: the network's latent_shape")
    add("--allow-import", action="store_true", help="allow --latent-network to run its code")
    add("--device", default="cpu", help="cpu, cuda, ...")
    add_json(parser)
    parser.set_defaults(run=_optimize)


def _optimize(arguments: argparse.Namespace) -> int:
    check_least(arguments, steps=1, size=1, every=1)
    require_images()
    let_threads_sleep()
    import torch

    from losskit.objectives.config import load_objective
    from losskit_lab.optimize.animation import write_animation
    from losskit_lab.optimize.descent import Descent
    from losskit_lab.optimize.run import Run

    check_device(arguments.device)
    torch.manual_seed(arguments.seed)
    network = load_network(arguments)
    objective = load_objective(arguments.objective).to(arguments.device)
    init, outputs = load_images(arguments, network)
    descent = Descent(
        objective,
        init,
        outputs,
        network=network,
        optimizer=arguments.optimizer,
        lr=arguments.lr,
        bounds=arguments.range,
    )
    if network is not None:
        descent.outputs["init"] = descent.image()
    settings = _settings(arguments, {"start": init, **outputs})
    run = Run(arguments.out, descent, settings, span=arguments.range, resume=arguments.resume)
    if descent.iteration > arguments.steps:
        raise LosskitError(
            f"{arguments.out} has {descent.iteration} steps already: --steps {arguments.steps} would "
            "take some back; give more, or another --out"
        )
    with one_line_errors(f"{arguments.objective} on these images"):
        stopped, last = _descend(run, arguments.steps, arguments.every)
    animation = None
    if arguments.animation != "none":
        animation = arguments.out / f"animation.{arguments.animation}"
        for frame in write_animation(run.frames(), animation):
            print(
                f"losskit: left {frame} out of the animation: it is damaged or of another size",
                file=sys.stderr,
            )
    result = arguments.out / "result.png"
    if arguments.json:
        print_json(
            iteration=descent.iteration,
            finished=not stopped,
            values=last,
            result=result,
            animation=animation,
        )
    else:
        print(f"{result} after {descent.iteration} steps" + (f"; {animation}" if animation else ""))
    if stopped:
        print("losskit: stopped; the same command with --resume goes on", file=sys.stderr)
        return 130
    return 0


def _settings(arguments: argparse.Namespace, images: Mapping[str, Tensor]) -> dict[str, Any]:
    """All that the result depends on but the number of steps, which a resumed run may raise."""
    from losskit.objectives.config import read_config

    return {
        "objective": read_config(arguments.objective),
        "optimizer": arguments.optimizer,
        "lr": arguments.lr,
        "range": arguments.range,
        "seed": arguments.seed,
        "latent_network": arguments.latent_network,
        "images": {
            name: hashlib.sha256(image.cpu().numpy().tobytes()).hexdigest()
            for name, image in images.items()
        },
    }


def _descend(run: Run, steps: int, every: int | None) -> tuple[bool, dict[str, float]]:
    """Step until all is done or Ctrl-C; the end is saved in any case.

    It is no snapshot unless its turn has come: a resumed run has the frames of one that was not
    stopped.
    """
    every = every or max(1, steps // 40)
    last: dict[str, float] = {}
    descent = run.descent
    with interrupt() as interrupted, progress_of(steps, descent.iteration) as show:
        while descent.iteration < steps and not interrupted.is_set():
            last = run.record(descent.step())
            show(last)
            if descent.iteration % every == 0:
                run.snapshot()
        if last and descent.iteration % every:
            run.save()
    return descent.iteration < steps, last
