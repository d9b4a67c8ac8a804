"""Ctrl-C and SIGTERM as a wish that is granted at the next good moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def catch_signals() -> Iterator[list[signal.Signals]]:
    """Collect the first Ctrl-C or SIGTERM instead of dying of it; a second one acts as usual."""
    caught: list[signal.Signals] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
    except ValueError:  # not in the main thread: signals are the caller's affair
        previous.clear()
    try:
        yield caught
    finally:
        restore()
