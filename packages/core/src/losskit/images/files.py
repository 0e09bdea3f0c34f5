"""Image files of a folder, and pairs of files that belong together."""

from __future__ import annotations

from pathlib import Path

from losskit.errors import LosskitError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def paired_files(
    pred: Path, target: Path, *, pred_suffix: str = ""
) -> list[tuple[str, Path, Path]]:
    """The pairs two files, or two folders, make: by the same relative path, whatever the suffix.

    Hidden files, and files in hidden folders, are left out: they hold copies (``.ipynb_checkpoints``)
    and metadata (``._0001.png``).

    Args:
        pred: a file, or a folder that is searched with all folders in it.
        target: another.
        pred_suffix: what names in ``pred`` have more than those in ``target``: ``"x4"`` pairs
            ``0001x4.png`` with ``0001.png``.

    Raises:
        LosskitError: one is missing, a file has no partner, or a folder holds no image.
    """
    for path in (pred, target):
        if not path.exists():
            raise LosskitError(f"there is no file or folder {path}")
    if pred.is_file() and target.is_file():
        return [(pred.name, pred, target)]
    if pred.is_file() or target.is_file():
        raise LosskitError(f"{pred} and {target} must be two files or two folders")
    left, right = _images(pred, pred_suffix), _images(target)
    for folder, files in ((pred, left), (target, right)):
        if not files:
            raise LosskitError(f"there is no image in {folder} ({', '.join(SUFFIXES)})")
    missing = sorted(set(left) ^ set(right))
    if missing:
        lacking = target if missing[0] in left else pred
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise LosskitError(f"{missing[0]!r} has no partner in {lacking}{more}")
    return [(name, left[name], right[name]) for name in sorted(left)]


def visible_files(folder: Path) -> list[Path]:
    """All files of a folder and of those in it, sorted, but hidden ones, which are no data.

    Macs (``._0001.png``) and notebooks (``.ipynb_checkpoints``) leave these behind.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _images(folder: Path, suffix: str = "") -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in visible_files(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        name = str(path.relative_to(folder).with_suffix(""))
        if not name.endswith(suffix):
            raise LosskitError(f"the name of {path} does not end in {suffix!r}")
        name = name.removesuffix(suffix)
        if name in found:
            raise LosskitError(
                f"{found[name]} and {path.name} differ only in their suffix: keep one of them"
            )
        found[name] = path
    return found
