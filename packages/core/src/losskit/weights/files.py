"""Pretrained weights files: where they are, fetching, checksums, safe loading.

Torch is imported only when a file is loaded, so that ``losskit weights`` answers at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from losskit.errors import WeightsError, nearest
from losskit.spec import WeightsSpec
from losskit.text import one_line
from losskit.weights.downloads import open_url

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_CHUNK = 1 << 20
_RANDOM = re.compile(r"random(?::(\d+))?")

#: ``"recorded"``: no checksum is published, and the file is the one that was recorded first;
#: ``"unrecorded"``: nor is one recorded.
Status = Literal["ok", "missing", "wrong", "recorded", "unrecorded"]


def cache_dir() -> Path:
    """Return the folder of weights files: ``$LOSSKIT_CACHE``, else torch's own ``hub/checkpoints``."""
    if own := os.environ.get("LOSSKIT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("TORCH_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"
    )
    return Path(base).expanduser() / "hub" / "checkpoints"


def known_weights() -> list[WeightsSpec]:
    """The weights that the installed plugins name."""
    from losskit.discovery.registry import list_weights

    return list_weights()


def find_weights(name: str, specs: Iterable[WeightsSpec] | None = None) -> WeightsSpec:
    """The spec of this name.

    Raises:
        WeightsError: no installed plugin names such weights.
    """
    known = {spec.name: spec for spec in (known_weights() if specs is None else specs)}
    if name not in known:
        raise WeightsError(
            f"there are no weights {name!r}{nearest(name, known)}; known are "
            f"{', '.join(sorted(known)) or 'none'}; or give a path ending in {', '.join(SUFFIXES)}"
        )
    return known[name]


def weights_path(spec: WeightsSpec) -> Path:
    """Return the path where the file of a spec belongs, whether it is there or not."""
    name = Path(unquote(urlsplit(spec.url).path).rstrip("/.")).name or spec.name
    path = Path(name)
    # As torch.hub does: two files of one name, ours or somebody else's, must not meet.
    mark = spec.name if spec.sha256 is None else spec.sha256[:8]
    return cache_dir() / f"{path.stem}-{mark}{path.suffix}"


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


def pull_weights(spec: WeightsSpec, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch a file into the cache, unless the right one is there.

    The file appears under its name only when it is complete and its checksum is right. Where no
    checksum is published, that of the first file is recorded beside it, with a warning, and a
    different one is refused from then on.

    Args:
        spec: what to fetch.
        progress: called with the bytes so far and the bytes in all (0: not known).

    Raises:
        WeightsError: it cannot be fetched, or its checksum differs.
    """
    path = weights_path(spec)
    status = verify_weights(spec)
    if status == "unrecorded":
        _check(spec, path)
    if status in ("ok", "recorded", "unrecorded"):
        return path
    part = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            open_url(spec.url, timeout=60) as source,
            tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=path.name, suffix=".part", delete=False
            ) as file,
        ):
            part, done = file.name, 0
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, spec.size or 0)
        known = spec.size if spec.sha256 is None else None
        _check_length(done, source.headers.get("Content-Length"), known)
        _check(spec, Path(part))
        Path(part).replace(path)
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        raise WeightsError(
            f"cannot fetch {spec.name!r} from {spec.url}: {one_line(error)}; on a machine without "
            f"internet, fetch it elsewhere and put it at {path}"
        ) from error
    finally:
        if part:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
    return path


def _check_length(received: int, announced: str | None, published: int | None) -> None:
    """Raise OSError for a download cut short: without a checksum nothing else would tell."""
    for length in (announced, published):
        if length is not None and received != int(length):
            raise OSError(f"{received} bytes came, not {int(length)}")


def find_file(name_or_path: str | Path, specs: Iterable[WeightsSpec] | None = None) -> Path:
    """The local file of weights given by name or by path; its checksum is verified.

    Nothing is fetched: a training run should not begin with a download nobody asked for. A file
    that has no published checksum is recorded when it is first found, with a warning.

    Raises:
        WeightsError: the file is not there, or is not the published one.
    """
    if isinstance(name_or_path, str) and "://" in name_or_path:
        name_or_path = _name_of(name_or_path, known_weights() if specs is None else specs)
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, Path) or path.suffix in SUFFIXES or path.is_file():
        if not path.is_file():
            raise WeightsError(
                f"there is no weights file {str(name_or_path)!r} (looked for {path.absolute()})"
            )
        return path
    spec = find_weights(str(name_or_path), specs)
    path = weights_path(spec)
    if not path.is_file():
        raise WeightsError(
            f"the weights {spec.name!r} need the file {path.name}, which is not in {path.parent}; "
            f"run `losskit weights pull {spec.name}`, or fetch {spec.url} elsewhere and put it "
            "there"
        )
    _check(spec, path)
    return path


def load_weights(
    name_or_path: str | Path, specs: Iterable[WeightsSpec] | None = None
) -> dict[str, Tensor]:
    """Read a state dict, without running code that the file might hold.

    Args:
        name_or_path: a name that ``losskit weights list`` shows, its URL, or a path:
            ``.safetensors`` (needs the safetensors package), or a file of ``torch.save``, read with
            ``weights_only=True``. A state dict inside a mapping under ``"params_ema"``,
            ``"state_dict"`` or ``"params"`` is taken out.
        specs: where to look the name up; by default all installed plugins.

    Returns:
        Tensors on the CPU, by name.

    Raises:
        WeightsError: the file is missing, wrong or unreadable, or holds no state dict.
    """
    path = find_file(name_or_path, specs)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            import torch

            content = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise WeightsError(f"reading {path} needs a package: pip install safetensors") from error
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}: {_head(error)}); "
            "save a state dict with torch.save or safetensors"
        ) from error
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"{path} holds {type(content).__name__}, not a state dict")
    for key, value in content.items():
        if not hasattr(value, "untyped_storage"):
            raise WeightsError(
                f"{path} holds {type(value).__name__} under {key!r}, where a state dict has tensors; "
                "save the network's state_dict() alone"
            )
    return dict(content)


#: Where other libraries keep the state dict inside a checkpoint, the better weights first.
_NESTED = ("params_ema", "state_dict", "params")


def random_seed(weights: object) -> int | None:
    """The seed of ``weights="random"`` (0) or ``"random:7"`` (7); ``None`` for anything else."""
    match = _RANDOM.fullmatch(weights) if isinstance(weights, str) else None
    return None if match is None else int(match[1] or 0)


def _name_of(url: str, specs: Iterable[WeightsSpec]) -> str:
    """Other libraries' configs name weights by their URL."""
    for spec in specs:
        if spec.url == url:
            return spec.name
    raise WeightsError(
        f"the weights {url!r} are not fetched while a loss is built, and no installed plugin knows "
        "them by name: fetch them, and give weights= the file's path"
    )


def _expected(spec: WeightsSpec) -> str | None:
    """The checksum that a file must have: the published one, else the recorded one."""
    if spec.sha256 is not None:
        return spec.sha256
    try:
        return record_path(spec).read_text().split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _check(spec: WeightsSpec, path: Path) -> None:
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


def _head(error: Exception) -> str:
    # torch's message goes on to advise weights_only=False, which is what must not be done.
    return one_line(str(error).strip().split("\n", 1)[0])[:200]
