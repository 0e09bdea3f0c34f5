"""Write the catalogue: one page a plugin, one section a loss, all from the specs and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import atlas
import yaml

from losskit.cli.listing import example_config
from losskit.discovery.registry import list_losses, plugins
from losskit.discovery.targets import resolve_target
from losskit.signatures import is_required, loss_signature
from losskit.spec import LossSpec

_DOCS = Path(__file__).parent.parent


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True}


def _write_pages(app: Any) -> None:
    extra = [Path(app.confdir, path) for path in app.config.html_extra_path]
    write_catalogue(Path(app.srcdir) / "catalogue", *(path / "atlas" for path in extra))


def write_catalogue(folder: Path, drawn: Path | None = None) -> None:
    """Write ``index.md``, ``atlas.md``, and a page for each plugin that supplies losses.

    Args:
        folder: where to.
        drawn: the atlas with its photographs, which the site will have at ``atlas/``.
    """
    folder.mkdir(exist_ok=True)
    figures = atlas.read_atlas(_DOCS / "atlas.json")
    formulas = yaml.safe_load((_DOCS / "formulas.yaml").read_text(encoding="utf-8"))
    pictures = atlas.pictures_of(figures, drawn)
    whole = drawn is not None and (drawn / "index.html").exists()
    _write(folder / "atlas.md", atlas.page(figures, whole=whole))
    names = [record.name for record in plugins() if record.usable and record.losses]
    for name in names:
        specs = list_losses(plugin=name)
        parts = [f"# {name}\n", *(section(spec, figures, formulas, pictures) for spec in specs)]
        _write(folder / f"{name}.md", "\n".join(parts))
    rows = [
        f"| [`{s.name}`]({s.namespace}.md#{s.name.lower()}) | {', '.join(s.tags)} | {s.summary.replace('|', chr(92) + '|')} |"
        for name in names
        for s in list_losses(plugin=name)
    ]
    toc = "\n".join(["```{toctree}", ":hidden:", "atlas", *names, "```"])
    intro = (
        "Every loss of the official plugins, from their specs. `losskit list` shows those you have; "
        "[the atlas](atlas.md) compares what they see and what they cost."
    )
    table = "\n".join(["| loss | tags | |", "|---|---|---|", *rows])
    _write(folder / "index.md", f"# Catalogue\n\n{intro}\n\n{table}\n\n{toc}\n")


def _write(path: Path, text: str) -> None:
    """Leave an unchanged page alone, so that Sphinx does not read it again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def section(
    spec: LossSpec,
    figures: Mapping[str, Any],
    formulas: Mapping[str, str],
    pictures: Mapping[str, Sequence[str]],
) -> str:
    """A loss: summary, signature, formula, docstring, paper, picture, cost, config."""
    signature = loss_signature(spec)
    config = yaml.safe_dump(example_config(spec, signature["inputs"]), sort_keys=False)
    lines = [f"## {spec.name}", "", spec.summary, ""]
    if spec.name in formulas:
        lines += ["$$", formulas[spec.name], "$$", ""]
    if spec.aliases:
        lines += [f"Also called {', '.join(f'`{alias}`' for alias in spec.aliases)}.", ""]
    for title, parameters in (
        ("Arguments", signature["arguments"]),
        ("Inputs", signature["inputs"]),
    ):
        shown = [n if is_required(p) else f"{n}={p.default!r}" for n, p in parameters.items()]
        lines += [f"{title}: {', '.join(f'`{item}`' for item in shown) or 'none'}.", ""]
    lines += [*_reference(spec), ""]
    if spec.paper:
        lines += [f"Paper: {_linked(spec.paper)}", ""]
    entries = atlas.entries_of(spec, figures)
    lines += atlas.picture(entries, pictures) if entries else [atlas.without(spec), ""]
    return "\n".join([*lines, "```yaml", config.rstrip(), "```", ""])


def _reference(spec: LossSpec) -> Iterator[str]:
    """autodoc's directives for a loss, and for the function that its first paragraph names."""
    target = resolve_target(spec.target)
    module = inspect.getmodule(target)
    first = (inspect.getdoc(target) or "").partition("\n\n")[0]
    named = [getattr(module, name, None) for name in re.findall(r"(?<!`)`(\w+)`(?!`)", first)]
    yield "```{eval-rst}"
    for item in dict.fromkeys([target, *filter(inspect.isfunction, named)]):
        kind = "class" if inspect.isclass(item) else "function"
        package = item.__module__.partition(".")[0]
        exported = getattr(import_module(package), item.__name__, None) is item
        module = package if exported else item.__module__
        yield from (f".. auto{kind}:: {module}.{item.__name__}", "   :no-index:", "")
    yield "```"


def _linked(paper: str) -> str:
    paper = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)
    return re.sub(r"doi:(10\.\S+?)(?=[.,;]?(\s|$))", r"[doi:\1](https://doi.org/\1)", paper)
