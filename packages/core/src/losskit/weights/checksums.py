"""Checksums of weights files: published ones, or recorded of the file that came first."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Literal

from losskit.errors import WeightsError
from losskit.spec import WeightsSpec
from losskit.text import one_line
from losskit.weights.places import weights_path

#: ``"recorded"``: no checksum is published, and the file is the one that was recorded first;
#: ``"unrecorded"``: nor is one recorded.
Status = Literal["ok", "missing", "wrong", "recorded", "unrecorded"]


def record_path(spec: WeightsSpec) -> Path:
    """Return the path of the recorded checksum of the first file seen, if none is published for it.

    In the form that ``sha256sum -c`` reads. To trust another file, delete the record.
    """
    path = weights_path(spec)
    return path.with_name(f"{path.name}.sha256")


def verify_weights(spec: WeightsSpec) -> Status:
    """Check whether the file is there and is the one that its authors published, or that came first."""
    path = weights_path(spec)
    if not path.is_file():
        return "missing"
    expected = _expected(spec)
    if expected is None:
        return "unrecorded"
    if _sha256(path) != expected:
        return "wrong"
    return "recorded" if spec.sha256 is None else "ok"


def _expected(spec: WeightsSpec) -> str | None:
    """The checksum that a file must have: the published one, else the recorded one."""
    if spec.sha256 is not None:
        return spec.sha256
    try:
        return record_path(spec).read_text().split()[0]
    except (OSError, ValueError, IndexError):
        return None


def check_file(spec: WeightsSpec, path: Path) -> None:
    """Hold a file against the checksum that it must have; the first one seen is recorded.

    Raises:
        WeightsError: it is another file.
    """
    found, expected = _sha256(path), _expected(spec)
    if expected is None:
        _record(spec, found)
    elif found != expected and spec.sha256 is None:
        raise WeightsError(
            f"{path} is not the {spec.name!r} that came first: its sha256 is {found}, not {expected}; "
            f"it was not loaded. If you trust it, delete {record_path(spec)}"
        )
    elif found != expected:
        raise WeightsError(
            f"{path} is not the published {spec.name!r}: its sha256 is {found}, not {expected}; "
            f"it was not loaded. Delete it and run `losskit weights pull {spec.name}`"
        )


def _record(spec: WeightsSpec, found: str) -> None:
    """Trust on first use: nobody publishes a checksum, so hold later files against this one."""
    record = record_path(spec)
    try:
        record.write_text(f"{found}  {weights_path(spec).name}\n")
        done = f"is recorded in {record}; another file will be refused"
    except OSError as error:
        done = f"could not be recorded either: {one_line(error)}"
    warnings.warn(
        f"no checksum is published for the weights {spec.name!r}, so this file cannot be verified; "
        f"its sha256, {found}, {done}",
        stacklevel=3,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
