"""Writing files so that they are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from growreel.errors import GrowreelError


@contextmanager
def writing(path: Path, kept: str = "nothing else was touched") -> Iterator[None]:
    """Turn what the disk says while `path` is written - full, no such folder, not permitted - into a GrowreelError.

    `kept` tells what the user still has.
    """
    try:
        yield
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be written ({error.strerror or error}); {kept}; make room or choose another place") from error


def replace_text(path: Path, text: str) -> None:
    """Write a text file beside, then put it in place; whoever reads `path` sees the old text or the new."""
    temporary = path.with_name(f"{path.name}.partial")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def markdown_beside(path: Path, flag: str) -> Path:
    """Where the Markdown of a report goes whose JSON goes to `path`. Raises GrowreelError, naming `flag`, unless that ends in .json."""
    if path.suffix != ".json":
        raise GrowreelError(f"{flag} {path}: must end in .json; the Markdown is written beside it")
    return path.with_suffix(".md")


def write_report(path: Path, flag: str, json_text: str, markdown: str) -> list[Path]:
    """Write a report's JSON to `path` and its Markdown beside it. Returns both paths; raises as `markdown_beside` and `writing` do."""
    page = markdown_beside(path, flag)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json_text)
        replace_text(page, markdown)
    return [path, page]


def sync_folder(folder: Path) -> None:
    """Make what was renamed in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
