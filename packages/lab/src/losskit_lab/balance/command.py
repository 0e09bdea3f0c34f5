"""``losskit balance OBJECTIVE``: which term dominates, and weights that would change it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.cli.arguments import check_least, parse_range
from losskit.cli.listing import add_json, print_json, print_table
from losskit.errors import ConfigError, LosskitError
from losskit.images.files import paired_files
from losskit.images.pairs import Batch, batches, load_pairs
from losskit.images.pixels import require_images
from losskit.objectives.scoring import check_device, one_line_errors
from losskit.text import one_line

if TYPE_CHECKING:
    from torch import Tensor

    from losskit.objectives.balance import BalanceReport
    from losskit.objectives.objective import Objective


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``losskit balance``."""
    parser.description = (
        "Measure the gradient of each term by the image 'pred', over batches of image pairs, and "
        "propose weights for a wished ratio of the gradients' norms."
    )
    add = parser.add_argument
    add("objective", type=Path, help="a config with 'terms' (YAML, JSON, TOML)")
    add("--pred", type=Path, required=True, help="an image, or a folder of images")
    add("--target", type=Path, required=True, help="the image or folder to compare with")
    add(
        "--init",
        type=Path,
        help="where the image started, for terms that compare with 'init' (default: the target)",
    )
    add("--ratio", default="", metavar="TERM=1,TERM=2", help="wished ratio (default: all equal)")
    add("--size", type=int, metavar="PX", help="scale the shorter side to this many pixels")
    add("--batch", type=int, default=4, help="equal-sized images at once (default 4)")
    add("--limit", type=int, default=16, help="at most so many batches (default 16)")
    add("--iteration", type=int, default=0, help="the iteration that schedules see (default 0)")
    add("--range", type=parse_range, default=(0.0, 1.0), metavar="LOW,HIGH", help="default: 0,1")
    add("--plot", type=Path, metavar="FILE.svg", help="also draw the shares")
    add("--device", default="cpu", help="cpu, cuda, ...")
    add_json(parser)
    parser.set_defaults(run=_balance)


def _balance(arguments: argparse.Namespace) -> int:
    check_least(arguments, size=1, batch=1, limit=1, iteration=0)
    ratio = parse_ratio(arguments.ratio)
    require_images()
    from losskit.objectives.balance import report
    from losskit.objectives.config import load_objective

    check_device(arguments.device)
    objective = load_objective(arguments.objective).to(arguments.device).eval()
    with one_line_errors(f"{arguments.objective} on these images"):
        result = report(objective, _outputs(arguments), ratio=ratio)
    if arguments.plot:
        from losskit_lab.balance.drawing import draw

        try:
            arguments.plot.write_text(draw(result), encoding="utf-8")
        except OSError as error:
            raise LosskitError(f"cannot write {arguments.plot}: {one_line(error)}") from error
    if arguments.json:
        print_json(
            batches=result.batches,
            iteration=arguments.iteration,
            wanted=result.wanted,
            terms=[asdict(t) for t in result.terms],
            remarks=list(_remarks(result, objective, arguments.iteration)),
        )
        return 0
    _print(result)
    for line in _remarks(result, objective, arguments.iteration):
        print(f"\n{line}")
    return 0


def parse_ratio(words: str) -> dict[str, float]:
    """``"loss_l1=1,loss_perceptual=2"`` as numbers by term.

    Raises:
        ConfigError: a part is not ``name=number``.
    """
    ratio = {}
    for part in filter(None, words.split(",")):
        name, _, value = part.partition("=")
        try:
            ratio[name.strip()] = float(value)
        except ValueError as error:
            raise ConfigError(f"--ratio is written TERM=NUMBER,..., not {part!r}") from error
    return ratio


def _outputs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    low, high = arguments.range

    def beside(other: Path) -> Iterator[Batch]:
        pairs = load_pairs(paired_files(arguments.pred, other), 4, size=arguments.size)
        return batches(pairs, arguments.batch)

    def scaled(image: Tensor) -> Tensor:
        moved: Tensor = image.to(arguments.device) * (high - low) + low
        return moved

    starts = beside(arguments.init) if arguments.init else None
    for batch in islice(beside(arguments.target), arguments.limit):
        target = scaled(batch.target)
        yield {
            "pred": scaled(batch.pred),
            "target": target,
            "init": scaled(next(starts).target) if starts else target,
            "iteration": arguments.iteration,
        }


def _print(result: BalanceReport) -> None:
    rows = []
    for term in result.terms:
        spread = "" if term.deviation is None else f" ± {term.deviation:.1g}"
        measured = (
            f"{term.value:.4g}",
            f"{term.norm:.3g}{spread}",
            f"{term.share:.1%}",
            f"{result.wanted.get(term.name, 0):.1%}",
            f"{term.alignment:+.2f}",
        )
        rows.append(
            (
                term.name,
                *(measured if term.active else ("not active", *"----")),
                "adaptive" if term.weight is None else f"{term.weight:g}",
                "-" if term.proposed is None else f"{term.proposed:.3g}",
            )
        )
        rows += [(f"  {k}", "", f"{v:.3g}", "", "", "", "", "") for k, v in term.parts.items()]
    header = ("TERM", "VALUE", "GRADIENT", "SHARE", "WANTED", "COSINE", "WEIGHT", "PROPOSED")
    print_table(header, rows)


def _remarks(result: BalanceReport, objective: Objective, iteration: int) -> Iterator[str]:
    """Explain why a term has no proposed weight, and what would give it one."""
    optimised = [term for term in objective.term_list() if not term.monitor]
    for found, term in zip(result.terms, optimised, strict=True):
        if not found.active:
            first = term.schedule.first
            hint = "" if first in (None, iteration) else f"; --iteration {first} shows it"
            yield f"{found.name} is not active at iteration {iteration}{hint}"
        elif found.weight == 0:
            yield f"{found.name} has loss_weight 0, so no gradient: give it a weight to compare it"
        elif found.norm == 0:
            yield f"{found.name} has no gradient on these images: no weight changes that"
