"""The training's side of requests: it looks once a second, between two steps, and says what it did."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from growreel.errors import GrowreelError
from growreel.runtime import distributed
from growreel.runtime.durable import replace_text, tidy, writing
from growreel.training.requests import Answer, Listening, Request, RequestFolder, What
from growreel.training.stats import append_line

LOOK_SECONDS = 1.0
PAUSED_LOOK_SECONDS = 0.25


class Listener:
    """Reads requests in the first process, tells all processes of them, and writes the answers.

    Args:
        run: run folder, whose lock this training holds.
        is_first: whether this is the process that reads and writes.

    Attributes:
        paused: whether the training holds still.
    """

    def __init__(self, run: Path, is_first: bool) -> None:
        self.box, self.is_first = RequestFolder(run), is_first
        self.session = secrets.token_hex(8)
        self.paused = False
        self._next_look = 0.0
        self._seconds_left: float | None = None

    @contextmanager
    def open(self, clips: int) -> Iterator[None]:
        """Listen until the block ends. What was asked before is answered with no: it was meant for a training that has ended."""
        if self.is_first:
            tidy(self.box.folder)
            for path in self.box.waiting():
                request = self.box.read(path)
                if request is None:
                    _forget(path)
                else:
                    self.answer(request, False, "it was left behind by a training that ended before it looked", clips)
            self.say_state(clips)
        try:
            yield
        finally:
            if self.is_first:
                with contextlib.suppress(GrowreelError):  # a disk that fails here must not hide what training ends with
                    for request in self._take():  # what nobody will look at any more
                        self.answer(request, False, "training ended before it looked", clips)
                with contextlib.suppress(GrowreelError):
                    _forget(self.box.listening)

    def say_state(self, clips: int, seconds_left: float | None = None) -> None:
        """Write who listens and how far it is, in the first process."""
        if self.is_first:
            self._seconds_left = seconds_left or self._seconds_left
            now = Listening(self.session, "paused" if self.paused else "training", clips, self._seconds_left, time.time())
            with writing(self.box.listening, "the last checkpoint is whole"):
                replace_text(self.box.listening, json.dumps(asdict(now)))

    def is_asked(self) -> bool:
        """Say whether a request waits; it is looked for once in `LOOK_SECONDS`, which costs one listing of a folder."""
        now = time.monotonic()
        if not self.is_first or now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return bool(self.box.waiting())

    def attend(self, clips: int, carry_out: Mapping[What, Callable[[Request], str]], stopped: Callable[[], bool]) -> bool:
        """Carry out what is asked, in all processes at once, and hold for as long as a pause lasts. Say whether to stop.

        Args:
            clips: shown so far.
            carry_out: for `sample` and `save`, what does it and returns what was done, in words.
            stopped: whether a signal asks a process to stop; called in all processes at the same time.
        """
        stop = self._round(clips, carry_out)
        while self.paused and not stop:
            distributed.wait_on_purpose(PAUSED_LOOK_SECONDS)
            stop = self._round(clips, carry_out) or stopped()
        return stop

    def _round(self, clips: int, carry_out: Mapping[What, Callable[[Request], str]]) -> bool:
        """Carry out what waits at this moment."""
        was_paused, stop = self.paused, False
        for request in distributed.from_first(self._take() if self.is_first else []):
            done, said = True, ""
            match request.what:
                case "sample":
                    try:
                        said = carry_out["sample"](request)
                    except GrowreelError as error:  # a picture that cannot be written must not end a training
                        done, said = False, str(error)
                case "save":
                    said = carry_out["save"](request)
                case "pause":
                    done, said = not self.paused, "it was paused already" if self.paused else "training holds; tell it resume to go on"
                    self.paused = True
                case "resume":
                    done, said = self.paused, "training goes on" if self.paused else "it was not paused"
                    self.paused = False
                case "stop":
                    carry_out["save"](request)
                    self.paused, stop, said = False, True, "saved, and training ends; the same train command goes on from here"
            self.answer(request, done, said, clips)
        if was_paused != self.paused:
            self.say_state(clips)
        return stop

    def _take(self) -> list[Request]:
        """Requests of this session, in order; files that are none, or are meant for another training, go."""
        found = []
        for path in self.box.waiting():
            request = self.box.read(path)
            if request is None:
                _forget(path)
            elif request.session != self.session:
                self.answer(request, False, "it was meant for another training", 0)
            else:
                found.append(request)
        return found

    def answer(self, request: Request, done: bool, said: str, clips: int) -> None:
        """Write what became of a request, and then forget it."""
        if self.is_first:
            line = Answer(request.id, request.what, done, said, clips, request.asked, time.time())
            append_line(self.box.answers, asdict(line))
            _forget(self.box.folder / f"{request.id}.json")


def _forget(path: Path) -> None:
    """Remove a file that may be gone already. Raises GrowreelError if the disk does not let it."""
    with writing(path, "the last checkpoint is whole"):
        path.unlink(missing_ok=True)
