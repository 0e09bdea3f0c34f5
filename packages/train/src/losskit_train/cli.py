"""``losskit train``, ``sample``, ``curves``, ``export`` and ``demo``."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from losskit.cli.arguments import check_least
from losskit.discovery.extras import require
from losskit.errors import LosskitError

_FABRIC = "lightning_fabric|lightning"
_TRAIN_FLAGS = ("accelerator", "devices", "strategy", "precision")


def configure_train(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit train``."""
    add = parser.add_argument
    add("config", type=Path, nargs="?", help="a YAML, JSON or TOML file")
    add("overrides", nargs="*", metavar="key=value", help="change the config: optimizer.lr=1e-4")
    add("--resume", action="store_true", help="go on from the newest checkpoint")
    add("--out", help="the folder everything is written to")
    add("--seed", type=int, help="of everything random")
    for flag in _TRAIN_FLAGS:
        add(f"--{flag}", help=f"fabric.{flag}")
    add("--allow-import", action="store_true", help="let the config import code outside losskit")
    add("--check", action="store_true", help="check the config and data, then stop")
    add(
        "--print-config",
        action="store_true",
        help="print the config with its defaults and comments, or a template of all keys, then stop",
    )
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_train, wrong_usage=parser.error)


def configure_sample(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit sample``."""
    add = parser.add_argument
    add("run_folder", type=Path, metavar="RUN", help="a run's folder or checkpoint")
    add("--out", type=Path, default=Path("samples"), help="folder for the PNGs")
    add("--count", type=int, help="images to make from noise (16)")
    add("--seed", type=int, default=0, help="of the noise")
    add("--interpolate", type=int, default=0, metavar="N", help="N points between pairs of latents")
    add("--input", type=Path, help="an image, or a folder of them, for a generator of images")
    add("--grid", action="store_true", help="one sheet instead of single files")
    add("--batch", type=int, default=16, help="images to make at a time")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--no-ema", action="store_true", help="the last weights, not their average")
    add("--allow-import", action="store_true", help="let the config import code outside losskit")
    parser.set_defaults(run=_sample)


def configure_curves(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit curves``."""
    add = parser.add_argument
    add("run_folder", type=Path, metavar="RUN", help="a run's folder")
    add("--out", type=Path, help="the SVG (default: curves.svg in that folder)")
    add("--title", default="Losses by step", help="above the curves")
    add("--names", nargs="+", help="which values (default: all but the totals)")
    parser.set_defaults(run=_curves)


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit export``."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder or checkpoint")
    parser.add_argument(
        "--kind",
        choices=("safetensors", "torch", "onnx", "torch-export"),
        default="safetensors",
        help="weights (safetensors, torch), or a graph (onnx, torch-export)",
    )
    parser.add_argument("--out", type=Path, help="the file (default: in the run's folder)")
    parser.add_argument("--no-ema", action="store_true", help="the last weights, not their average")
    parser.add_argument(
        "--allow-import", action="store_true", help="let the config import code outside losskit"
    )
    parser.set_defaults(run=_export)


def configure_demo(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit demo``."""
    parser.add_argument("--out", type=Path, default=Path("losskit-demo"), help="folder to write")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="about how long it may take on two cores"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_demo)


def _require(what: str, *modules: str) -> None:
    """Raise LosskitError, in one line with the extra to install, unless the modules are here."""
    require(f"`losskit {what}`", "numpy", "PIL", *modules, distribution="losskit-train")


def _train(arguments: argparse.Namespace) -> int:
    if arguments.print_config:
        return _print_config(arguments)
    if arguments.config is None:
        arguments.wrong_usage("the following arguments are required: config")
    _require("train", _FABRIC, *(() if arguments.quiet else ("rich",)))
    from losskit_train.config.training import load_train_config
    from losskit_train.run.interrupt import Stopped
    from losskit_train.run.loop import Trainer

    config = load_train_config(arguments.config, _overrides(arguments))
    trainer = Trainer(config, progress=not arguments.quiet)
    if arguments.check:
        trainer.check(resume=arguments.resume)
        others = trainer.source.others
        left_out = f" ({others} other file{'s' * (others != 1)} left out)" if others else ""
        kept = trainer.validation and len(trainer.validation.source)
        aside = f", {kept} to validate on" if kept else ""
        print(
            f"{arguments.config} is fine: {len(trainer.source)} images{left_out}{aside}, "
            f"{config.steps} steps"
        )
        return 0
    try:
        path = trainer.run(resume=arguments.resume)
    except Stopped as stop:
        if trainer.fabric.is_global_zero:
            print(
                f"stopped at step {stop.step}, saved {stop.checkpoint}; "
                f"go on with: {_command(arguments)}"
            )
        return 130
    if trainer.fabric.is_global_zero:
        print(f"{trainer.step} steps done: {path}")
    return 0


def _print_config(arguments: argparse.Namespace) -> int:
    from losskit_train.config.reference import commented_yaml, required_examples
    from losskit_train.config.training import as_mapping, load_train_config

    first = arguments.config
    # Without CONFIG, argparse takes the first key=value for it.
    if first and "=" in str(first) and not first.exists():
        arguments.overrides.insert(0, str(first))
        arguments.config = None
    config = load_train_config(arguments.config or required_examples(), _overrides(arguments))
    # What is printed can be saved, and a file that allows imports would be refused.
    print(commented_yaml({**as_mapping(config), "allow_import": False}), end="")
    return 0


def _overrides(arguments: argparse.Namespace) -> Sequence[str]:
    flags = {f"fabric.{flag}": getattr(arguments, flag) for flag in _TRAIN_FLAGS}
    flags |= {"out": arguments.out, "seed": arguments.seed}
    if arguments.allow_import:
        flags["allow_import"] = "true"
    return [
        *arguments.overrides,
        *(f"{key}={value}" for key, value in flags.items() if value is not None),
    ]


def _command(arguments: argparse.Namespace) -> str:
    """The command that resumes a run: the one that was given."""
    words = ["losskit", "train", str(arguments.config), *arguments.overrides, "--resume"]
    for flag in ("out", "seed", *_TRAIN_FLAGS):
        value = getattr(arguments, flag)
        if value is not None:
            words += [f"--{flag}", str(value)]
    words += ["--allow-import"] if arguments.allow_import else []
    words += ["--quiet"] if arguments.quiet else []
    return shlex.join(words)


def _sample(arguments: argparse.Namespace) -> int:
    _require("sample")
    from losskit_train.config.sections import LARGEST_SEED
    from losskit_train.results.inference import write_samples

    if not 0 <= arguments.seed <= LARGEST_SEED:
        raise LosskitError(f"--seed must be from 0 to {LARGEST_SEED}, not {arguments.seed}")
    check_least(arguments, count=1, batch=1, interpolate=0)
    written = write_samples(
        arguments.run_folder,
        arguments.out,
        count=arguments.count,
        seed=arguments.seed,
        interpolate=arguments.interpolate,
        inputs=arguments.input,
        as_grid=arguments.grid,
        use_ema=not arguments.no_ema,
        allow_import=arguments.allow_import,
        batch=arguments.batch,
        device=arguments.device,
    )
    for path in written:
        print(path)
    return 0


def _curves(arguments: argparse.Namespace) -> int:
    require("`losskit curves`", "numpy", distribution="losskit-train")
    from losskit_train.output.curves import draw_run

    print(
        draw_run(arguments.run_folder, arguments.out, title=arguments.title, names=arguments.names)
    )
    return 0


def _export(arguments: argparse.Namespace) -> int:
    _require("export")
    from losskit_train.results.export import export_generator

    path = export_generator(
        arguments.run_folder,
        arguments.out,
        kind=arguments.kind,
        use_ema=not arguments.no_ema,
        allow_import=arguments.allow_import,
    )
    print(path)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    _require("demo", _FABRIC, "rich", "torchvision", "skimage", "matplotlib")
    # torch's threads spin while they wait, which on a busy machine made the demo five times slower.
    # It is read when torch is loaded, which nothing has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from losskit_train.demo.run import run_demo

    print(run_demo(arguments.out, minutes=arguments.minutes, progress=not arguments.quiet))
    return 0
