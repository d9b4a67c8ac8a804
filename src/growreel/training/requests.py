"""What a person asks of a running training, and what became of it: files in the run folder, read and written by several processes.

`listening.json` says which training would answer; `requests/<time>-<token>.json` are what it is asked, the oldest first; the training
appends a line to `answers.jsonl` for each, and only then removes the file. A request names the session that it is meant for, so that what
a killed training has left is never carried out by the next one.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from growreel.errors import GrowreelError
from growreel.runtime.durable import replace_text, writing
from growreel.runtime.locks import is_held

What = Literal["sample", "save", "pause", "resume", "stop"]
WORDS: tuple[What, ...] = get_args(What)
ABOUT: dict[str, str] = {
    "sample": "Write a sample grid now.",
    "save": "Write a checkpoint and a model file now.",
    "pause": "Hold before the next step; the memory stays taken, the processors become free.",
    "resume": "Go on after a pause.",
    "stop": "Write a checkpoint and end; the same train command goes on from there.",
}
MOST_WAITING = 64
MOST_BYTES = 4096
NAME = re.compile(r"\d{20}-[0-9a-f]{8}\.json")


@dataclass(frozen=True)
class Request:
    """One wish. `id` is the name of its file without suffix, `raw` asks for samples of the generator without its moving average."""

    id: str
    session: str
    what: What
    raw: bool
    asked: float


@dataclass(frozen=True)
class Answer:
    """What became of a request: `done` or not, in words, at how many clips shown, and when (seconds since 1970)."""

    id: str
    what: str
    done: bool
    said: str
    clips: int
    asked: float
    time: float

    def sentence(self) -> str:
        """For people: `sample: wrote samples/000000120.webp (at 120 clips, 14:02:11)`."""
        at = time.strftime("%H:%M:%S", time.localtime(self.time))
        return f"{self.what}: {'' if self.done else 'not done: '}{self.said} (at {self.clips:,} clips, {at})"


@dataclass(frozen=True)
class Listening:
    """Which training listens: `state` is `training` or `paused`; `seconds_left` is None where it has no forecast."""

    session: str
    state: str
    clips: int
    seconds_left: float | None
    time: float


class RequestFolder:
    """Paths and reading of requests and answers in a run folder. Nothing is created by reading."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder, self.answers, self.listening = run / "requests", run / "answers.jsonl", run / "listening.json"
        self.lock = run / ".lock"

    def listener(self) -> Listening | None:
        """The training that listens now, or None: no training runs here, or it is still starting."""
        tree = _read(self.listening)
        try:
            found = Listening(**tree) if tree else None
        except TypeError:
            return None
        return found if found and is_held(self.lock) else None

    def waiting(self) -> list[Path]:
        """Files of requests, the oldest first."""
        try:
            return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def read(self, path: Path) -> Request | None:
        """One request; None if the file is none."""
        tree = _read(path)
        try:
            request = Request(path.stem, str(tree["session"]), tree["what"], bool(tree.get("raw", False)), float(tree["asked"]))
        except (KeyError, TypeError, ValueError):
            return None
        return request if request.what in WORDS else None

    def find_answer(self, request: str) -> Answer | None:
        """The answer to a request, once there is one."""
        return next((answer for answer in self.latest_answers(200) if answer.id == request), None)

    def latest_answers(self, count: int) -> list[Answer]:
        """The newest answers, the newest first."""
        try:
            with open(self.answers, "rb") as file:
                file.seek(max(0, file.seek(0, 2) - 400 * count))
                rows = file.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return []
        found = []
        for row in reversed(rows):
            try:
                found.append(Answer(**json.loads(row)))
            except (ValueError, TypeError):
                continue
        return found[:count]


def ask(run: Path, what: What, *, raw: bool = False) -> Request:
    """Put a request into a run folder, whole or not at all, without waiting for its answer.

    Raises GrowreelError if this is no run folder, no training listens there, or more requests are waiting than anybody needs.
    """
    box = RequestFolder(run)
    if what not in WORDS:
        raise GrowreelError(f"{what}: is nothing that a training can be told; use {', '.join(WORDS)}")
    if not (run / "config.yaml").is_file():
        raise GrowreelError(f"{run}: is no run folder (it has no config.yaml); give what growreel train has as --out")
    listener = box.listener()
    if listener is None:
        starting = is_held(box.lock)
        raise GrowreelError(
            f"{run}: a training is starting here and does not listen yet; ask again when its first step is done"
            if starting
            else f"{run}: no training runs here, so nobody would do it; start or resume it with growreel train"
        )
    if len(box.waiting()) >= MOST_WAITING:
        raise GrowreelError(f"{box.folder}: {MOST_WAITING} requests are waiting already; let the training answer them first")
    now = time.time()
    request = Request(f"{time.time_ns():020d}-{secrets.token_hex(4)}", listener.session, what, raw, now)
    with writing(box.folder):
        box.folder.mkdir(exist_ok=True)
        tree: dict[str, Any] = asdict(request)
        replace_text(box.folder / f"{tree.pop('id')}.json", json.dumps(tree))
    return request


def await_answer(run: Path, request: Request, seconds: float) -> Answer | None:
    """Wait for the answer to a request; None if there is none after so many seconds, or the training has ended without one."""
    box, until = RequestFolder(run), time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := box.find_answer(request.id):
            return answer
        listener = box.listener()
        if listener is None or listener.session != request.session:
            time.sleep(0.2)  # its last words may be on their way
            return box.find_answer(request.id)
        time.sleep(0.1)
    return box.find_answer(request.id)


def _read(path: Path) -> dict[str, Any]:
    """A small JSON object, or an empty one."""
    try:
        with open(path, "rb") as file:
            tree = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}
