"""Checkpoints that are either whole or not there, however the process died.

A seal (size and SHA-256) is written to a temporary file, flushed to the disk and renamed; then the
state beside it in the same way: dying in between leaves a seal alone, and no state that looks like
one. A file without a seal, or that does not match it, is never taken for good: the one before it is
used.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from losskit.errors import LosskitError
from losskit.text import one_line
from losskit_train.output.files import write_atomically

_NAME = re.compile(r"step-(\d+)\.pt")


class CheckpointError(LosskitError, RuntimeError):
    """A checkpoint is missing, damaged, or not of this run."""


def save(
    folder: Path,
    step: int,
    state: Mapping[str, Any],
    *,
    keep: int,
    note: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``step-N.pt`` and its seal; remove all older ones but the ``keep`` newest whole ones.

    Damaged ones do not count, and go as soon as a whole one is newer; the one just written stays.

    Args:
        folder: where checkpoints go; made if need be.
        step: steps done.
        state: tensors, numbers, texts, and lists and dicts of them, so that it can be read back
            without running anything.
        keep: checkpoints that stay, this one among them.
        note: what to say of it in its seal, which is read without the state.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:08d}.pt"
    path.unlink(missing_ok=True)  # never an old state under a new seal
    seal = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "step": step,
        **({} if note is None else {"note": dict(note)}),
    }
    write_atomically(_seal(path), json.dumps(seal).encode())
    write_atomically(path, content)
    _prune(path, keep)
    return path


def _prune(written: Path, keep: int) -> None:
    """Remove what is older than the checkpoint just written, but for the ``keep`` newest whole ones.

    What processes that died left half written goes too.
    """
    files = list(_newest_first(written.parent))
    place = files.index(written)
    kept = 1 + sum(is_whole(newer) for newer in files[:place])
    for old in files[place + 1 :]:
        # By its size only: to read them all again at every checkpoint would take as long as writing.
        if kept < keep and _is_complete(old):
            kept += 1
            continue
        old.unlink(missing_ok=True)  # the state first: without it a seal says nothing
        _seal(old).unlink(missing_ok=True)
    for unfinished in written.parent.glob(".step-*.tmp"):  # of a process that died in the middle
        unfinished.unlink(missing_ok=True)
    for seal in written.parent.glob("step-*.seal.json"):  # of one that died between the two
        if seal.name < _seal(written).name and not seal.with_name(_state_name(seal)).exists():
            seal.unlink(missing_ok=True)


def remove_newer(path: Path) -> None:
    """Remove what is newer in its folder: of a run that went on from before it, and otherwise."""
    for newer in _newest_first(path.parent):
        if newer == path:
            return
        newer.unlink(missing_ok=True)
        _seal(newer).unlink(missing_ok=True)


def all_of(folder: Path) -> list[Path]:
    """The checkpoints of a folder, whole or not, the newest first."""
    return list(_newest_first(folder))


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint of a folder; ``None`` if there is none."""
    return next((path for path in _newest_first(folder) if is_whole(path)), None)


def is_whole(path: Path) -> bool:
    """Return whether a checkpoint exists with a seal that it matches."""
    if not _is_complete(path):
        return False
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False
    return bool(_read_seal(path).get("sha256") == digest)


def _is_complete(path: Path) -> bool:
    """Return whether a file has a seal, and the size that the seal states."""
    try:
        return bool(_read_seal(path).get("size") == path.stat().st_size)
    except OSError:
        return False


def _read_seal(path: Path) -> dict[str, Any]:
    try:
        seal = json.loads(_seal(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return seal if isinstance(seal, dict) else {}


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, as data only: nothing in it is run.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    if not _seal(path).exists():
        raise CheckpointError(
            f"{path} has no seal {_seal(path).name} beside it: it was copied without; "
            "copy both, or use the one before it"
        )
    if not is_whole(path):
        raise CheckpointError(f"{path} is damaged or half written; use the one before it")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none
        raise CheckpointError(f"cannot read {path}: {one_line(error)}") from error
    return state


def note_of(path: Path) -> dict[str, Any] | None:
    """Read the note written with a checkpoint; ``None`` if there is none."""
    note = _read_seal(path).get("note")
    return note if isinstance(note, dict) else None


def find(path: Path) -> Path:
    """A checkpoint from what a user points at: the file, its folder, or the run's folder.

    Raises:
        CheckpointError: there is no whole checkpoint.
    """
    if path.is_file():
        if path.suffix in (".yaml", ".yml", ".json", ".toml"):
            raise CheckpointError(
                f"{path} is a config; give the folder of its run, or a checkpoint"
            )
        return path
    for folder in (path / "checkpoints", path):
        found = latest(folder)
        if found is not None:
            return found
    raise CheckpointError(f"there is no whole checkpoint in {path}")


def is_of_a_run(path: Path) -> bool:
    """Return whether a file is a run's checkpoint by its name or its seal, not a mere state dict."""
    return _NAME.fullmatch(path.name) is not None or _seal(path).exists()


def _newest_first(folder: Path) -> Iterator[Path]:
    named = [(p, _NAME.fullmatch(p.name)) for p in folder.glob("step-*.pt")]
    numbered = [(int(match.group(1)), path) for path, match in named if match]
    yield from (path for _, path in sorted(numbered, reverse=True))


def _seal(path: Path) -> Path:
    return path.with_suffix(".seal.json")


def _state_name(seal: Path) -> str:
    return seal.name.removesuffix(".seal.json") + ".pt"


def random_state() -> dict[str, Any]:
    """The state of every random generator of this process, as plain data."""
    version, internal, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, [int(key) for key in keys], int(place), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what ``random_state`` gave; a machine with other devices keeps its own states of those."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
