"""Text that may hold anything, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with escapes in place of control characters, and of bytes of a file's name that are no UTF-8."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text)
