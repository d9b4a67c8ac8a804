"""Writing files and folders so that they are there whole or not at all, also after a power cut.

All writers of the project come through here. What is unfinished lies beside its place as `.<name>.<token>.partial`. The token is random
and the file must be new, so that nobody can lay a link there that leads a writer to another file. A finished file is brought to the disk,
put in place by renaming, and its folder is brought to the disk too.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from growreel.errors import GrowreelError
from growreel.reading.faults import why

PARTIAL = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.partial")
REPLACED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.replaced")


@contextmanager
def writing(path: Path, intact: str = "nothing else was touched") -> Iterator[None]:
    """Turn what the disk says while `path` is written - full, no such folder, not permitted - into a GrowreelError.

    `intact` tells what the user still has.
    """
    try:
        yield
    except OSError as error:
        raise GrowreelError(f"{path}: cannot be written ({why(error)}); {intact}; make room or choose another place") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new binary file beside `path`, open for writing, that takes its place at the end; if the block fails, `path` stays as it was.

    The file's `name` is its path, for libraries that write by name. Raises OSError if the disk does not take it.
    """
    temporary = _beside(path, "partial")
    with open(temporary, "xb", opener=_open_new) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
            file.close()  # a file that is open cannot be renamed on Windows
            os.replace(temporary, path)
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` that takes its place at the end; if the block fails, `path` stays as it was.

    Files in it are to be written with `replacing`. Raises OSError if the disk does not take it.
    """
    temporary, older = _beside(path, "partial"), _beside(path, "replaced")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.rename(path, older)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if older.exists() and not path.exists():
            os.rename(older, path)
        raise
    shutil.rmtree(older, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is there whole or not at all."""
    going = _beside(path, "partial")
    os.rename(path, going)
    shutil.rmtree(going)


def tidy(folder: Path) -> None:
    """Remove what writers that were killed have left in `folder`, and put back a folder whose successor did not come into place.

    Only for a folder in which nobody writes at the time.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if PARTIAL.fullmatch(entry.name):
            _remove(entry)
        elif replaced := REPLACED.fullmatch(entry.name):
            successor = folder / replaced["name"]
            if successor.exists():
                _remove(entry)
            else:
                os.rename(entry, successor)


def replace_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8; whoever reads `path` sees the old text or the new. Raises OSError if the disk does not take it."""
    with replacing(path) as file:
        file.write(text.encode())


def markdown_beside(path: Path, flag: str) -> Path:
    """Return where the Markdown goes of a report whose JSON goes to `path`.

    Raises GrowreelError, naming `flag`, unless `path` ends in .json.
    """
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
    """Make what was renamed in `folder` survive a power cut. Windows cannot open folders and does this by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, kind: str) -> Path:
    """A name that nobody can foresee, in the folder of `path`; file systems take at most 255 bytes."""
    name = os.fsencode(path.name)[:200].decode(errors="ignore")
    return path.with_name(f".{name}.{secrets.token_hex(8)}.{kind}")


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
