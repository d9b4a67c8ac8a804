"""What a process that decodes for `prepare` does; `crew` starts it.

Tasks come as pickles on standard input, answers go as pickles to what was standard output: ("beat", None) as a sign of life,
("done", value), or ("disk", (number, text)) when the place for the clips cannot be written (`runtime.child`).
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from growreel.data.pyramid import pyramid
from growreel.preparation.converting import Cut, convert
from growreel.preparation.drops import Drop, Sieve
from growreel.preparation.looking import Look, look
from growreel.preparation.privacy import StoredNames
from growreel.preparation.report import SourceRow
from growreel.preparation.sources import Source
from growreel.runtime.child import answer_stream
from growreel.video.archives import MediaFile

BEAT = 0.5  # seconds between signs of life
TOGETHER = 2**21  # bytes of clips whose pyramids are made together


@dataclass(frozen=True)
class LookTask:
    """Look at files."""

    files: tuple[MediaFile, ...]

    def run(self, beat: Any) -> list[Look]:
        looks = []
        for file in self.files:
            beat()
            looks.append(look(file))
        return looks


@dataclass(frozen=True)
class Converted:
    """What became of a source: its rows, and name and first frame of each clip in the spool, in order."""

    rows: tuple[SourceRow, ...]
    clips: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ConvertTask:
    """Cut one source; its clips go to the file `spool`, each followed by the smaller levels of its pyramid."""

    source: Source
    cut: Cut
    spool: Path
    threads: int
    anonymous: bool
    drops: frozenset[Drop] = frozenset()

    def run(self, beat: Any) -> Converted:
        clips = list[tuple[str, int]]()
        names, sieve = StoredNames(self.source, self.anonymous), Sieve(self.drops)
        with _Spool(self.spool) as spool:

            def emit(name: str, start: int, clip: NDArray[np.uint8]) -> None:
                if sieve.lets_pass(name, names.of(name), start):
                    spool.write(clip)
                    clips.append((names.of(name), start))

            rows = convert(self.source, self.cut, emit, beat, self.threads)
        return Converted(tuple(sieve.correct(rows)), tuple(clips))


class SpoolError(Exception):
    """The spool cannot be written; holds the OSError."""


class _Spool:
    """A file that is made with its first clips, and errors of the disk told from those of decoders."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO | None = None
        self._waiting: list[NDArray[np.uint8]] = []

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write_waiting()
            if self._stream is not None:
                self._stream.close()
        except OSError as problem:
            raise SpoolError(problem) from problem

    def write(self, clip: NDArray[np.uint8]) -> None:
        self._waiting.append(clip)
        if len(self._waiting) * clip.size >= TOGETHER:
            try:
                self._write_waiting()
            except OSError as problem:
                raise SpoolError(problem) from problem

    def _write_waiting(self) -> None:
        """Pyramids of several small clips are made in one go: most of the work is in calls."""
        if not self._waiting:
            return
        if self._stream is None:
            self._stream = open(self._path, "wb")  # noqa: SIM115 - closed by __exit__
        levels = pyramid(np.stack(self._waiting))
        self._stream.write(np.concatenate([level.reshape(len(self._waiting), -1) for level in levels], axis=1).data)
        self._waiting = []


def serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Run tasks until there are no more."""
    last = 0.0

    def answer(kind: str, value: Any) -> None:
        pickle.dump((kind, value), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()

    def beat() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > BEAT:
            last = now
            answer("beat", None)

    answer("beat", None)  # ready
    while True:
        try:
            task = pickle.load(tasks)
        except EOFError:
            return
        try:
            answer("done", task.run(beat))
        except SpoolError as error:
            problem = error.args[0]
            answer("disk", (problem.errno, problem.strerror))


def main() -> None:
    import av

    answers = answer_stream()
    av.logging.set_level(av.logging.PANIC)
    logging.disable(logging.WARNING)
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        os._exit(1)  # the parent is gone
