"""Paths without the folders that lead to them: those tell whose machine it was to everyone who is given a card, a report or a model."""

from __future__ import annotations

import re
from typing import Any

FOLDERS = re.compile(r"(?<![\w./~-])(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][^\s/\\:;,()'\"]+)+")
PARTS = re.compile(r"[/\\]")


def last_part(path: str) -> str:
    """The last part of a path of any system."""
    return PARTS.split(path.rstrip("/\\"))[-1]


def without_folders(value: Any, name: str = "") -> Any:
    """The same tree of plain values with the last part of every path alone; what is called `path` is one, spaces in it or not."""
    if isinstance(value, dict):
        return {key: without_folders(entry, str(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(entry, name) for entry in value]
    if not isinstance(value, str):
        return value
    return last_part(value) if name == "path" else FOLDERS.sub(lambda path: last_part(path[0]), value)


def command_without_folders(words: list[str]) -> list[str]:
    """The words of a command, of absolute paths and of those that begin above the present folder or at home the last part alone."""
    return [last_part(word) if re.match(r"[/\\~]|\.\.[/\\]|[A-Za-z]:[/\\]", word) else without_folders(word) for word in words]
