"""``losskit gan train | sample | curves``, ``losskit export`` and ``losskit demo``."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from losskit.errors import LosskitError
from losskit.extras import require

_FABRIC = "lightning_fabric|lightning"
_TRAIN_FLAGS = ("accelerator", "devices", "strategy", "precision")


class _Intermixed(argparse.ArgumentParser):
    """argparse that takes ``CONFIG --resume key=value`` in any order."""

    _nested = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._nested:
            return super().parse_known_args(args, namespace)
        self._nested = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._nested = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit gan``."""
    commands = parser.add_subparsers(metavar="train | sample | curves", parser_class=_Intermixed)
    train = commands.add_parser(
        "train",
        help="train a generator from a config",
        epilog="example: losskit gan train config.yaml optimizer.lr=1e-4",
    )
    train.add_argument("config", type=Path, nargs="?", help="a YAML, JSON or TOML file")
    train.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change the config: optimizer.lr=1e-4"
    )
    train.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    train.add_argument("--out", help="the folder everything is written to")
    train.add_argument("--seed", type=int, help="of everything random")
    for flag in _TRAIN_FLAGS:
        train.add_argument(f"--{flag}", help=f"fabric.{flag}")
    train.add_argument(
        "--allow-import", action="store_true", help="let the config import code outside losskit"
    )
    train.add_argument("--check", action="store_true", help="check the config and data, then stop")
    train.add_argument(
        "--print-config",
        action="store_true",
        help="print the config with its defaults and comments, or a template of all keys, then stop",
    )
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(run=_train, wrong_usage=train.error)
    sample = commands.add_parser(
        "sample",
        help="images from a trained generator",
        epilog="example: losskit gan sample runs/faces --count 36 --grid",
    )
    sample.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder or checkpoint")
    sample.add_argument("--out", type=Path, default=Path("samples"), help="folder for the PNGs")
    sample.add_argument("--count", type=int, help="images to make from noise (16)")
    sample.add_argument("--seed", type=int, default=0, help="of the noise")
    sample.add_argument(
        "--interpolate", type=int, default=0, metavar="N", help="N points between pairs of latents"
    )
    sample.add_argument(
        "--input", type=Path, help="an image, or a folder of them, for a generator of images"
    )
    sample.add_argument("--grid", action="store_true", help="one sheet instead of single files")
    sample.add_argument("--batch", type=int, default=16, help="images to make at a time")
    sample.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    sample.add_argument("--no-ema", action="store_true", help="the last weights, not their average")
    sample.add_argument(
        "--allow-import", action="store_true", help="let the config import code outside losskit"
    )
    sample.set_defaults(run=_sample)
    curves = commands.add_parser(
        "curves",
        help="draw a run's losses as an SVG",
        epilog="example: losskit gan curves runs/faces",
    )
    curves.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    curves.add_argument("--out", type=Path, help="the SVG (default: curves.svg in that folder)")
    curves.add_argument("--title", default="Losses by step", help="above the curves")
    curves.add_argument("--names", nargs="+", help="which values (default: all but the totals)")
    curves.set_defaults(run=_curves)


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
    require(f"`losskit {what}`", "numpy", "PIL", *modules, distribution="losskit-gan")


def _train(arguments: argparse.Namespace) -> int:
    if arguments.print_config:
        return _print_config(arguments)
    if arguments.config is None:
        arguments.wrong_usage("the following arguments are required: config")
    _require("gan train", _FABRIC, *(() if arguments.quiet else ("rich",)))
    from losskit_gan.trainer.config import load_train_config
    from losskit_gan.trainer.interrupt import Stopped
    from losskit_gan.trainer.loop import Trainer

    config = load_train_config(arguments.config, _overrides(arguments))
    trainer = Trainer(config, progress=not arguments.quiet)
    if arguments.check:
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
    from losskit_gan.trainer.config import as_mapping, load_train_config
    from losskit_gan.trainer.reference import commented_yaml, required_examples

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
    words = ["losskit", "gan", "train", str(arguments.config), *arguments.overrides, "--resume"]
    for flag in ("out", "seed", *_TRAIN_FLAGS):
        value = getattr(arguments, flag)
        if value is not None:
            words += [f"--{flag}", str(value)]
    words += ["--allow-import"] if arguments.allow_import else []
    words += ["--quiet"] if arguments.quiet else []
    return shlex.join(words)


def _sample(arguments: argparse.Namespace) -> int:
    _require("gan sample")
    from losskit_gan.trainer.inference import write_samples
    from losskit_gan.trainer.sections import LARGEST_SEED

    if not 0 <= arguments.seed <= LARGEST_SEED:
        raise LosskitError(f"--seed must be from 0 to {LARGEST_SEED}, not {arguments.seed}")
    for name, least in (("count", 1), ("batch", 1), ("interpolate", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise LosskitError(f"--{name} must be at least {least}, not {value}")
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
    require("`losskit gan curves`", "numpy", distribution="losskit-gan")
    from losskit_gan.curves import draw_run

    print(
        draw_run(arguments.run_folder, arguments.out, title=arguments.title, names=arguments.names)
    )
    return 0


def _export(arguments: argparse.Namespace) -> int:
    _require("export")
    from losskit_gan.trainer.export import export_generator

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
    from losskit_gan.demo.run import run_demo

    print(run_demo(arguments.out, minutes=arguments.minutes, progress=not arguments.quiet))
    return 0
