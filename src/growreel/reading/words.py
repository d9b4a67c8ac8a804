"""Values and messages from files, in an error: of a sensible length, and without characters that a terminal would obey."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST_NUMBER = 64
"""Bits; Python refuses to write out integers of thousands of digits."""


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple, self.maxset = 2, 3, 4, 4, 4
        self.maxstring, self.maxlong, self.maxother = 80, 40, 80

    def repr_int(self, x: int, level: int) -> str:
        return f"an integer of {x.bit_length():,} bits" if x.bit_length() > LONGEST_NUMBER else repr(x)


def shown(value: Any) -> str:
    """A value as Python writes it, at most about a line long; control characters come out escaped."""
    return plain(_Short().repr(value), 300)


def plain(text: object, longest: int = 200) -> str:
    """The message of a library or a name from a file on one line, cut to `longest` characters, what cannot be printed escaped."""
    words = " ".join(str(text)[: 2 * longest].split())
    words = _escaped(words)
    return words if len(words) <= longest else words[: longest - 3] + "..."


def printable(table: str) -> str:
    """Lines of text with what cannot be printed escaped: a label or a name in a file may hold what moves a terminal's cursor."""
    return "\n".join(map(_escaped, table.split("\n")))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)
