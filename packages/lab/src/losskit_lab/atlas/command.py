"""``losskit atlas``: draw what each installed loss sees, and what it costs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from losskit.cli.arguments import check_least, parse_loss
from losskit.cli.listing import add_json, print_json
from losskit.cli.progress import interrupt, let_threads_sleep, steps_of
from losskit.discovery.extras import explained
from losskit.errors import ConfigError, LosskitError
from losskit.images.pixels import read_image, require_images
from losskit.text import one_line

if TYPE_CHECKING:
    from losskit_lab.atlas import Entry
    from losskit_lab.atlas.measure import Photo

#: Photographs of scikit-image's wheel, where no --image is given and it is installed.
_PHOTOS = ("astronaut.png", "coffee.png")
_FEW = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit atlas``."""
    parser.description = (
        "Write a static page of curves, gradients and costs of every installed loss that looks at "
        "images. Losses that look through a network have random weights, and the page says so, "
        "unless a package ships the true ones, --true-weights finds them or --loss names weights."
    )
    add = parser.add_argument
    add(
        "--loss",
        action="append",
        default=[],
        metavar="NAME",
        help="only these, with options: 'CharbonnierLoss:eps=1e-3'; repeatable. 'all' is every "
        "installed one: --loss all --loss 'MSSSIMLoss:window_size=7'",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="where to write")
    add(
        "--image",
        action="append",
        default=[],
        type=Path,
        metavar="PHOTO",
        help="photographs to look at (default: two of scikit-image's, if it is installed)",
    )
    add("--size", type=int, default=128, metavar="PX", help="crop and scale to a square (128)")
    add("--true-weights", action="store_true", help="try true weights first; may download them")
    add_json(parser)
    parser.set_defaults(run=_atlas)


def _atlas(arguments: argparse.Namespace) -> int:
    check_least(arguments, size=16)
    require_images()
    let_threads_sleep()
    from losskit import __version__
    from losskit.discovery.registry import list_losses
    from losskit_lab.atlas import find_image_losses, measure_loss, write_page
    from losskit_lab.atlas.measure import Photo

    size = (arguments.size, arguments.size)
    photos = [
        Photo.of(path.stem, read_image(path, size=size)) for path in arguments.image or _default()
    ]
    configs = [parse_loss(text) for text in arguments.loss]
    entries: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    found = find_image_losses(configs, size=arguments.size, true_weights=arguments.true_weights)
    total = sum(len(list_losses()) if config["type"] == "all" else 1 for config in configs)
    total = total or len(list_losses())
    made = not arguments.out.exists()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)  # found out before minutes of measuring
    except OSError as error:
        raise LosskitError(f"cannot write to {arguments.out}: {one_line(error)}") from error
    # Libraries that fetch weights print; what goes to stdout is the report only.
    with (
        steps_of(total, "measuring") as show,
        contextlib.redirect_stdout(sys.stderr),
        interrupt() as interrupted,
    ):
        for item in found:
            if interrupted.is_set():
                break
            if isinstance(item, tuple):
                skipped.append(item)
                continue
            show(item.label)
            try:
                entries.append(measure_loss(item, photos))
            except Exception as error:  # a loss of anybody's: the page says what it said
                skipped.append((item.label, explained(error)))
    if not entries:
        if made:
            arguments.out.rmdir()
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped[:5])
        raise LosskitError(f"no loss could be drawn{': ' if reasons else ''}{reasons}")
    if interrupted.is_set():
        print(f"losskit: stopped; the page has what was measured: {len(entries)}", file=sys.stderr)
    try:
        page = write_page(entries, photos, skipped, arguments.out, version=__version__)
    except OSError as error:
        raise LosskitError(f"cannot write to {arguments.out}: {one_line(error)}") from error
    _report(page, entries, photos, skipped, as_json=arguments.json)
    return 130 if interrupted.is_set() else 0


def _report(
    page: Path,
    entries: Sequence[Entry],
    photos: Sequence[Photo],
    skipped: Sequence[tuple[str, str]],
    *,
    as_json: bool,
) -> None:
    from losskit_lab.atlas.subjects import NO_IMAGE
    from losskit_lab.atlas.tables import as_data

    failed = {name: why for name, why in skipped if why != NO_IMAGE}
    for name, why in failed.items():
        print(f"losskit: left out {name}: {why}", file=sys.stderr)
    others = [name for name, why in skipped if why == NO_IMAGE]
    if 0 < len(others) <= _FEW:  # asked for by name, most likely
        print(f"losskit: left out {', '.join(others)}: {NO_IMAGE}", file=sys.stderr)
    if as_json:
        print_json(
            page=page, **as_data(entries, photos), left_out=failed, without_image_inputs=others
        )
    else:
        print(
            f"{page}: {_count(entries, 'loss', 'es')} on {_count(photos, 'photograph')}"
            + (f"; {_count(others, 'other')} without an image to judge" if others else "")
        )


def _count(things: Sequence[object], word: str, more: str = "s") -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else more}"


def _default() -> list[Path]:
    from importlib.util import find_spec

    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise ConfigError(
            "give photographs: --image PHOTO; or pip install scikit-image, which has some"
        )
    folder = Path(found.origin).parent / "data"
    return [folder / name for name in _PHOTOS]
