"""The console: where messages go, colours on terminals, JSON instead of tables."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from jsonargparse import ArgumentParser

from growreel.reading.words import printable

Style = Literal["bold", "red", "yellow"]
CODES: dict[Style, str] = {"bold": "1", "red": "31", "yellow": "33"}


def has_colors(stream: TextIO) -> bool:
    """Say whether colours are wanted on this stream: on a terminal, unless NO_COLOR (no-color.org) is set or TERM is `dumb`."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if os.name == "nt" and not (os.environ.get("WT_SESSION") or os.environ.get("ANSICON")):
        return False  # the old console of Windows shows the codes themselves
    return stream.isatty()


def styled(text: str, style: Style, stream: TextIO) -> str:
    """Wrap the text in the codes of a style where the stream has colours; leave it as it is elsewhere."""
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if has_colors(stream) else text


def print_table(table: str) -> None:
    """Print a table, what cannot be printed escaped; on a terminal its first line stands out."""
    first, _, rest = printable(table).partition("\n")
    print(styled(first, "bold", sys.stdout) + (f"\n{rest}" if rest else ""))


def add_json(parser: ArgumentParser) -> None:
    """Add --json, the flag of every command that prints a table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead, for programs")


def print_json(value: Any) -> None:
    """Print a value of plain dicts, lists, numbers and texts as JSON, and nothing else."""
    wide = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, indent=2, ensure_ascii=not wide, allow_nan=False))


def escape_the_unprintable() -> None:
    """Let standard output escape what its encoding lacks, as standard error does: a file's name may be bytes that are no text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def messages_on_console(stream: TextIO) -> Iterator[None]:
    """Print what growreel's functions log to a stream for as long as the context lasts, above a progress bar if there is one."""
    logger, handler = logging.getLogger("growreel"), _Console(stream)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Console(logging.Handler):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = styled(text, "yellow", self.stream)
        tqdm.write(text, file=self.stream)
        self.stream.flush()
