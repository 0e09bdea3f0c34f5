"""Pretrained weights files: where they are, fetching, checksums, safe loading.

Torch is imported only when a file is loaded, so that ``losskit weights`` answers at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from losskit.errors import WeightsError, nearest
from losskit.spec import WeightsSpec, one_line

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_CHUNK = 1 << 20
_RANDOM = re.compile(r"random(?::(\d+))?")

Status = Literal["ok", "missing", "wrong"]


def cache_dir() -> Path:
    """Where weights files lie: ``$LOSSKIT_CACHE``, else torch's own ``hub/checkpoints``."""
    if own := os.environ.get("LOSSKIT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("TORCH_HOME") or os.path.join(  # noqa: PTH118
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"
    )
    return Path(base).expanduser() / "hub" / "checkpoints"


def known_weights() -> list[WeightsSpec]:
    """The weights that the installed plugins name."""
    from losskit.registry import list_weights

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
    """Where the file of a spec belongs, whether it is there or not."""
    name = Path(unquote(urlsplit(spec.url).path).rstrip("/.")).name or spec.name
    path = Path(name)
    # As torch.hub does: two files of one name, ours or somebody else's, must not meet.
    return cache_dir() / f"{path.stem}-{spec.sha256[:8]}{path.suffix}"


def verify_weights(spec: WeightsSpec) -> Status:
    """Whether the file is there and is the one that its authors published."""
    path = weights_path(spec)
    if not path.is_file():
        return "missing"
    return "ok" if _sha256(path) == spec.sha256 else "wrong"


def pull_weights(spec: WeightsSpec, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch a file into the cache, unless the right one is there.

    The file appears under its name only when it is complete and its checksum is right.

    Args:
        spec: what to fetch.
        progress: called with the bytes so far and the bytes in all.

    Raises:
        WeightsError: it cannot be fetched, or its checksum differs.
    """
    path = weights_path(spec)
    if verify_weights(spec) == "ok":
        return path
    part = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(spec.url, timeout=60) as source,
            tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=path.name, suffix=".part", delete=False
            ) as file,
        ):
            part, done = file.name, 0
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, spec.size)
        _check(spec, Path(part))
        Path(part).replace(path)
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise WeightsError(
            f"cannot fetch {spec.name!r} from {spec.url}: {one_line(error)}; on a machine without "
            f"internet, fetch it elsewhere and put it at {path}"
        ) from error
    finally:
        if part:
            with contextlib.suppress(OSError):
                Path(part).unlink(missing_ok=True)
    return path


def find_file(name_or_path: str | Path, specs: Iterable[WeightsSpec] | None = None) -> Path:
    """The local file of weights given by name or by path; its checksum is verified.

    Nothing is fetched: a training run should not begin with a download nobody asked for.

    Raises:
        WeightsError: the file is not there, or is not the published one.
    """
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
        name_or_path: a name that ``losskit weights list`` shows, or a path: ``.safetensors`` (needs
            the safetensors package), or a file of ``torch.save``, read with ``weights_only=True``.
            A state dict inside a mapping under ``"state_dict"`` is taken out.
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
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"{path} holds {type(content).__name__}, not a state dict")
    return dict(content)


def random_seed(weights: object) -> int | None:
    """The seed of ``weights="random"`` (0) or ``"random:7"`` (7); ``None`` for anything else."""
    match = _RANDOM.fullmatch(weights) if isinstance(weights, str) else None
    return None if match is None else int(match[1] or 0)


def _check(spec: WeightsSpec, path: Path) -> None:
    found = _sha256(path)
    if found != spec.sha256:
        raise WeightsError(
            f"{path} is not the published {spec.name!r}: its sha256 is {found}, not "
            f"{spec.sha256}; it was not loaded. Delete it and run `losskit weights pull {spec.name}`"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _head(error: Exception) -> str:
    # torch's message goes on to advise weights_only=False, which is what must not be done.
    return one_line(str(error).strip().split("\n", 1)[0])[:200]
