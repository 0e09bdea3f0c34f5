"""Downloads, and the addresses they may come from: https, and http from this machine."""

from __future__ import annotations

import urllib.request
from typing import Any
from urllib.parse import urlsplit

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def check_url(url: str) -> None:
    """Raise ValueError unless the address may be fetched.

    ``file:`` would copy any local file into the cache, and plain http can be read and changed on
    the way.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _THIS_MACHINE
    if not (parts.scheme == "https" and parts.hostname) and not local:
        raise ValueError(f"only https is fetched, and http from this machine, not {url!r}")


def open_url(url: str, timeout: float) -> Any:
    """The response of an address, redirects followed to where they may lead.

    Raises:
        ValueError: the address, or one that it redirects to, may not be fetched.
        OSError: it cannot be fetched.
    """
    check_url(url)
    return urllib.request.build_opener(_CheckedRedirects).open(url, timeout=timeout)


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
