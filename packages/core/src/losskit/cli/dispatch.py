"""Parse the command line and run one subcommand.

Exit codes: 0 fine, 1 a problem found, 2 wrong usage. An expected error is one line, never a
traceback; ``LOSSKIT_DEBUG=1`` shows where it came from.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from losskit.errors import LosskitError, PluginWarning, nearest
from losskit.text import one_line, printable

#: The core's own subcommands: name → (module with ``configure``, summary, example).
BUILT_IN = {
    "list": ("losskit.cli.listing:configure_list", "the losses that are installed", "--tag pixel"),
    "show": (
        "losskit.cli.listing:configure_show",
        "one loss: arguments, inputs, paper, config",
        "CharbonnierLoss",
    ),
    "plugins": ("losskit.cli.listing:configure_plugins", "the plugins and how they loaded", ""),
    "presets": ("losskit.cli.presets:configure", "published combinations of losses", "stylegan2"),
    "doctor": ("losskit.cli.doctor:configure", "check this installation", ""),
    "weights": (
        "losskit.cli.weights:configure",
        "list, fetch and verify pretrained weights",
        "list",
    ),
    "new": ("losskit.cli.new:configure", "write a plugin package to start from", "wavelet"),
    "check": (
        "losskit.cli.check:configure",
        "run the conformance kit on a plugin or loss",
        "core/L1Loss",
    ),
}
#: Subcommands official plugins add, so that a missing one is answered with its install.
OFFICIAL_COMMANDS = {
    "eval": "losskit-lab",
    "balance": "losskit-lab",
    "optimize": "losskit-lab",
    "atlas": "losskit-lab",
    "migrate": "losskit-lab",
    "train": "losskit-train",
    "sample": "losskit-train",
    "curves": "losskit-train",
    "export": "losskit-train[export]",
    "demo": "losskit-train[demo]",
}

_NEGATIVE = re.compile(r"-\.?\d")
_LONG_OPTION = re.compile(r"--[a-z][a-z-]*")


class _Parser(argparse.ArgumentParser):
    """argparse with messages of one line; an option is written in full, as scripts must find it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {printable(message)}\n")


class _TopParser(_Parser):
    """The parser of ``losskit`` itself, whose help lists every command."""

    def format_help(self) -> str:
        self.epilog = _overview()
        return super().format_help()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    warnings.filterwarnings("ignore", category=PluginWarning)  # `list` and `plugins` tell it better
    # Torch's, where NumPy is not installed: commands that need it say so themselves.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy", category=UserWarning)
    shown = warnings.formatwarning
    warnings.formatwarning = partial(_one_line_warning, shown)
    try:
        return _run(argv)
    except KeyboardInterrupt:
        print("losskit: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `losskit list | head`
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        return 0
    except (LosskitError, ModuleNotFoundError, OSError) as error:
        text = _expected(error)
        if text is None or os.environ.get("LOSSKIT_DEBUG") == "1":
            raise
        print(f"losskit: {text}", file=sys.stderr)
        if "--json" in argv:
            from losskit.cli.listing import print_json

            print_json(error=text)
        return 1
    finally:
        warnings.formatwarning = shown


def _expected(error: LosskitError | OSError | ModuleNotFoundError) -> str | None:
    """The one line for an error that people can do something about; None for any other."""
    if isinstance(error, LosskitError):
        return one_line(error)
    if isinstance(error, OSError):  # a folder that is not ours to write to, a full disk
        return _of_the_system(error)
    from losskit.discovery.extras import explained, is_known_absence

    return explained(error) if is_known_absence(error) else None


def _one_line_warning(
    others: Callable[..., str],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
    **line: Any,
) -> str:
    """Ours in one line: the source line that it would show is never the reader's."""
    if category.__module__.partition(".")[0] == "losskit":
        return f"losskit: {one_line(str(message))}\n"
    return others(message, category, *where, **line)


def _of_the_system(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return one_line(error)
    return printable(f"{error.filename}: {error.strerror}")


def _run(argv: list[str]) -> int:
    if "--no-plugins" in argv:  # before or behind the command
        from losskit.discovery.registry import refresh

        refresh(plugins=())
        argv = [word for word in argv if word != "--no-plugins"]
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    parser = _TopParser(
        prog="losskit",
        description="Losses for image synthesis, restoration and editing, found through plugins.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--no-plugins", action="store_true", help="use the core's own losses only")
    parser.add_argument("command", nargs="?", metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.version:
        from losskit import __version__

        print(__version__)
        return 0
    if arguments.command is None:
        parser.print_help()
        return 0
    return _dispatch(arguments.command, arguments.rest)


def _dispatch(name: str, rest: list[str]) -> int:
    if name in BUILT_IN:
        target, summary, example = BUILT_IN[name]
        module, _, attribute = target.partition(":")
        configure: Callable[[argparse.ArgumentParser], None] = getattr(
            importlib.import_module(module), attribute
        )
    else:
        configure, summary, example = _plugin_command(name)
    parser = _Parser(
        prog=f"losskit {name}",
        description=summary,
        epilog=f"example:\n  losskit {name} {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configure(parser)
    arguments = _parsed(parser, _with_negative_values(rest))
    run: Callable[[argparse.Namespace], int] | None = getattr(arguments, "run", None)
    if run is None:
        parser.print_help()
        return 2
    return run(arguments)


def _with_negative_values(words: list[str]) -> list[str]:
    """``--range -1,1`` as ``--range=-1,1``: argparse takes the value for an option of its own."""
    joined: list[str] = []
    for word in words:
        if _NEGATIVE.match(word) and joined and _LONG_OPTION.fullmatch(joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    try:
        return parser.parse_intermixed_args(words)  # CONFIG --resume key=value, in any order
    except TypeError:  # which a command of several actions does not take
        return parser.parse_args(words)


def _plugin_command(name: str) -> tuple[Callable[[argparse.ArgumentParser], None], str, str]:
    from losskit.discovery.registry import list_commands
    from losskit.discovery.targets import resolve_target

    commands = {spec.name: spec for spec in list_commands() if spec.name not in BUILT_IN}
    if name in commands:
        found = commands[name]
        return resolve_target(found.target), found.summary, found.example
    if name in OFFICIAL_COMMANDS:
        raise LosskitError(
            f"`losskit {name}` comes with a plugin: pip install '{OFFICIAL_COMMANDS[name]}'"
        )
    print(
        f"losskit: there is no command {name!r}{nearest(name, [*BUILT_IN, *commands])}; "
        "see `losskit --help`",
        file=sys.stderr,
    )
    raise SystemExit(2)


def _overview() -> str:
    from losskit.discovery.registry import list_commands

    rows = [(name, summary) for name, (_, summary, _) in BUILT_IN.items()]
    rows += [
        (c.name, f"{c.summary} ({c.namespace})") for c in list_commands() if c.name not in BUILT_IN
    ]
    lines = [f"  {name:<10} {summary}" for name, summary in rows]
    examples = ["  losskit list", "  losskit eval --help"]
    return "\n".join(["commands:", *lines, "", "examples:", *examples])
