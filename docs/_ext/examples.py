"""Write a page for each worked example: its README, then the files it speaks of."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).parents[2] / "examples"
_FIRST = ("style-transfer", "ms-ssim-blind-spot", "identity-and-clip", "integrations")
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)#:]+)\)")
_LANGUAGES = {".yaml": "yaml", ".py": "python"}


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_examples(Path(app.srcdir) / "examples"))
    return {"parallel_read_safe": True}


def write_examples(folder: Path, source: Path = _SOURCE) -> None:
    """Write ``index.md`` and a page for each folder of ``examples/`` that has a README."""
    folder.mkdir(exist_ok=True)
    found = [path.parent.name for path in source.glob("*/README.md")]
    names = sorted(found, key=lambda name: (_FIRST.index(name) if name in _FIRST else 9, name))
    for name in names:
        _write(folder / f"{name}.md", page(source / name))
        for picture in [*source.glob(f"{name}/*.svg"), *source.glob(f"{name}/*.png")]:
            (folder / name).mkdir(exist_ok=True)
            shutil.copy2(picture, folder / name)
    intro = "Each is a folder of `examples/` that runs by itself, and a test of the suite."
    toc = "\n".join(["```{toctree}", ":maxdepth: 1", *names, "```", ""])
    _write(folder / "index.md", f"# Worked examples\n\n{intro}\n\n{toc}")


def page(folder: Path) -> str:
    """A README whose links to files of its folder become those files, below it.

    Its pictures are looked for in a folder of its name, and another example's README is its page.
    """
    files: list[Path] = []

    def shown(match: re.Match[str]) -> str:
        is_picture, text, target = match.groups()
        path = folder / target
        if is_picture:
            return f"![{text}]({folder.name}/{target})"
        if path.name == "README.md" and path.is_file():
            return f"[{text}]({path.resolve().parent.name}.md)"
        if path.suffix in _LANGUAGES and path.is_file() and path not in files:
            files.append(path)
        return f"`{target}`"

    parts = [_LINK.sub(shown, (folder / "README.md").read_text(encoding="utf-8"))]
    for path in files:
        text = path.read_text(encoding="utf-8").rstrip()
        parts += [f"## {path.name}", "", f"```{_LANGUAGES[path.suffix]}", text, "```", ""]
    return "\n".join(parts)


def _write(path: Path, text: str) -> None:
    """Leave an unchanged page alone, so that Sphinx does not read it again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
