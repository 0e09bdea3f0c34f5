"""``losskit weights list | pull | verify | path``: for machines with and without internet."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from losskit.cli.listing import add_json, print_json, print_table
from losskit.cli.networks import Network, default_networks, families, find_network, known_networks
from losskit.errors import WeightsError
from losskit.spec import WeightsSpec
from losskit.text import printable
from losskit.weights import (
    cache_dir,
    find_weights,
    known_weights,
    pull_weights,
    verify_weights,
    weights_path,
)

_NOTES = {
    "recorded": "  (no checksum known; it is the file that came first)",
    "unrecorded": "  (no checksum known, and none recorded yet)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit weights``."""
    actions = parser.add_subparsers(metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="the files that installed plugins can use, and whether they are here",
        epilog="example: losskit weights list timm/vit_small_patch14_dinov2.lvd142m",
    )
    listing.add_argument(
        "network",
        nargs="*",
        help="networks of other libraries to look at instead: torchvision/resnet50, open_clip/RN50; "
        "with --all, words in their names",
    )
    listing.add_argument(
        "--all",
        action="store_true",
        help="every network that the installed libraries know, not only those losses use by default",
    )
    listing.set_defaults(run=_list)
    pull = actions.add_parser(
        "pull",
        help="fetch files into the cache and verify them",
        epilog="example: losskit weights pull --all",
    )
    pull.add_argument("name", nargs="*", help="names that 'losskit weights list' shows")
    pull.add_argument("--all", action="store_true", help="every file that is missing")
    pull.set_defaults(run=_pull)
    verify = actions.add_parser(
        "verify",
        help="compare files in the cache with their checksums",
        epilog="example: losskit weights verify",
    )
    verify.add_argument("name", nargs="*", help="names (default: all that are there)")
    verify.set_defaults(run=_verify)
    path = actions.add_parser(
        "path", help="where a file belongs", epilog="example: losskit weights path"
    )
    path.add_argument("name", nargs="?", help="a name (default: the cache folder itself)")
    path.set_defaults(run=_path)
    for action in (listing, pull, verify, path):
        add_json(action)


def _list(arguments: argparse.Namespace) -> int:
    specs = [] if arguments.network else known_weights()
    if arguments.json:
        print_json(
            cache=str(cache_dir()),
            weights=[_as_dict(spec) for spec in specs],
            networks=[network.as_dict() for network in _networks(arguments)],
        )
        return 0
    if specs:  # at once: looking networks up imports their libraries, which takes seconds
        print_table(
            ("WEIGHTS", "PLUGIN", "SIZE", "LICENCE", "HERE", "SUMMARY"),
            [
                (
                    spec.name,
                    spec.namespace,
                    _size(spec.size),
                    spec.license,
                    "yes" if weights_path(spec).is_file() else "no",
                    spec.summary,
                )
                for spec in specs
            ],
        )
    networks = _networks(arguments)
    if specs and networks:
        print("\nof other libraries, which fetch them when a loss first needs them, or ship them:")
    if networks:
        print_table(("NETWORK", "PLUGIN", "HERE", "AT, OR FROM"), [_row(n) for n in networks])
    if not specs and not networks:
        words = " ".join(map(repr, arguments.network))
        print(f"no network matches {words}" if words else "no installed plugin names weights files")
    return 0


def _networks(arguments: argparse.Namespace) -> list[Network]:
    if arguments.all:
        return known_networks(arguments.network)
    return [find_network(name) for name in arguments.network] or default_networks()


def _row(network: Network) -> tuple[str, str, str, str]:
    if network.file is None:
        here, place = "?", network.error
    elif network.file.here:
        here, place = "yes", network.file.path
    else:
        here, place = "no", network.file.source
    return printable(network.name), network.plugin, here, printable(place)


def _pull(arguments: argparse.Namespace) -> int:
    if arguments.all == bool(arguments.name):
        print("losskit weights pull: give names, or --all", file=sys.stderr)
        return 2
    specs = known_weights() if arguments.all else [_found(n) for n in arguments.name]
    for spec in specs:
        path = pull_weights(spec, None if arguments.json else _Progress(spec))
        if not arguments.json:
            print(path)
    if arguments.json:
        print_json(weights=[_as_dict(spec, verify_weights(spec)) for spec in specs])
    return 0


def _found(name: str) -> WeightsSpec:
    """Weights that a plugin names; those of other libraries are answered with how to fetch them.

    Raises:
        WeightsError: no plugin names them, or another library keeps them.
    """
    if name.partition("/")[0] not in families():
        return find_weights(name)
    file = find_network(name).file
    assert file is not None  # find_network says why where there is none
    if file.here:
        raise WeightsError(f"{name} is kept by its own library, and is here: {file.path}")
    raise WeightsError(f"{name} is fetched by its own library: run `{file.fetch}`")


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.name:
        specs = [_found(name) for name in arguments.name]
    else:
        specs = [spec for spec in known_weights() if weights_path(spec).is_file()]
    found = [(spec, verify_weights(spec)) for spec in specs]
    if arguments.json:
        print_json(weights=[_as_dict(spec, status) for spec, status in found])
    else:
        for spec, status in found:
            print(f"{status:<8} {spec.name}  {weights_path(spec)}{_NOTES.get(status, '')}")
        if not found:
            print(f"no known weights file is in {cache_dir()}")
    return 0 if all(status in ("ok", "recorded") for _, status in found) else 1


def _path(arguments: argparse.Namespace) -> int:
    path = weights_path(_found(arguments.name)) if arguments.name else cache_dir()
    if arguments.json:
        print_json(path=str(path), exists=path.exists())
    else:
        print(path)
    return 0


def _as_dict(spec: WeightsSpec, status: str | None = None) -> dict[str, Any]:
    path = weights_path(spec)
    return {
        "name": spec.name,
        "plugin": spec.namespace,
        "summary": spec.summary,
        "url": spec.url,
        "sha256": spec.sha256,
        "license": spec.license,
        "size": spec.size,
        "path": str(path),
        "status": status or ("present" if path.is_file() else "missing"),
    }


def _size(size: int | None) -> str:
    return f"{size / 1e6:.1f} MB" if size else "unknown"


class _Progress:
    """A line on stderr that counts up; silent where nobody watches."""

    def __init__(self, spec: WeightsSpec) -> None:
        self.name = spec.name
        self.shown = sys.stderr.isatty()

    def __call__(self, done: int, size: int) -> None:
        if self.shown:
            end = "\n" if 0 < size <= done else ""
            print(f"\r{self.name}  {_size(done)} of {_size(size)}", end=end, file=sys.stderr)
