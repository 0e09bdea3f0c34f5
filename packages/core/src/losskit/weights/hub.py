"""Hugging Face's hub, as far as its cache goes: what is here, without asking anybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from losskit.spec import NetworkFile


def hub_file(repository: str, names: Sequence[str], fetch: str) -> NetworkFile:
    """A network's file in the hub's cache; huggingface_hub must be installed.

    Args:
        repository: ``"organisation/name"``, or with a revision, ``"organisation/name@revision"``.
        names: of the file, any of which will do, the best first.
        fetch: the command that fetches it.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    source = f"{constants.ENDPOINT}/{repository}"
    for name in names:
        found = try_to_load_from_cache(repository, name, None, revision or None)
        if isinstance(found, str):
            return NetworkFile(found, True, source, fetch)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    return NetworkFile(str(folder), False, source, fetch)
