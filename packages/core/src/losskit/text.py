"""Text for messages: on one line, and without characters that steer a terminal."""

from __future__ import annotations

import unicodedata


def one_line(error: object) -> str:
    """An exception's text on one line, so that messages made from it stay one line too."""
    return printable(" ".join(str(error).split()))


def printable(text: object) -> str:
    """A text on one line, with control characters shown as escapes: they steer a terminal."""
    line = " ".join(part.strip() for part in str(text).splitlines())
    if line.isprintable():
        return line
    return "".join(repr(char)[1:-1] if steers_terminals(char) else char for char in line)


def steers_terminals(char: str) -> bool:
    """Return whether a character is a control code, a direction mark or half a surrogate pair."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs")
