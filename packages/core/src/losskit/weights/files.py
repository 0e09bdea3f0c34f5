"""Pretrained weights files: finding, fetching and safe loading.

Torch is imported only when a file is loaded, so that ``losskit weights`` answers at once.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losskit.errors import WeightsError, nearest
from losskit.spec import WeightsSpec
from losskit.text import one_line
from losskit.weights.checksums import check_file, verify_weights
from losskit.weights.downloads import open_url
from losskit.weights.places import weights_path

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_CHUNK = 1 << 20
_RANDOM = re.compile(r"random(?::(\d+))?")


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
        check_file(spec, path)
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
        check_file(spec, Path(part))
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
    check_file(spec, path)
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


def _head(error: Exception) -> str:
    # torch's message goes on to advise weights_only=False, which is what must not be done.
    return one_line(str(error).strip().split("\n", 1)[0])[:200]
