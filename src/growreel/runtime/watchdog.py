"""Watch over the processes of a training: nobody waits for ever for one that has died, hangs or has failed.

A collective of a process that is gone ends after a long timeout, or (NCCL) never in Python. So a thread in every process writes down,
in the store that all share, where its process is and since when; and reads it of the others. It ends its own process, saying why, when

* another one has left a last word (the error it failed with),
* another one has not been heard of for `patience`: killed, stopped, or its node is gone,
* no process has moved for `patience`: each waits for another.

A process moves as long as it computes or the stack of its main thread changes. One that is busy for long (an evaluation on the first
process, say) is waited for; so is one that spins while it waits for its card, until NCCL's own timeout. torchrun then starts all processes
again, if it may (`--max-restarts`).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import growreel

if TYPE_CHECKING:  # no build of PyTorch without processes has it
    from torch._C._distributed_c10d import Store

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: the same command may succeed."""
GRACE_SECONDS = 5.0
"""So long a process may take to fail by itself after another one's last word."""
BUSY = 0.1
"""Seconds of processor time per second from which a process counts as computing."""
PACKAGE = Path(growreel.__file__).parent


@dataclass
class _Heard:
    """What is known of a process: its latest report, and when by this process's clock it came."""

    report: dict[str, Any]
    at: float


class Watchdog:
    """Reports of this process and looks at those of all others, from a thread of its own, until it is stopped.

    Args:
        store: as only the processes of this start see it; not used by anything else at the same time.
        rank, world_size: of this process, and how many there are.
        patience: seconds.
        end: what ends the process, after the reason was printed.
    """

    def __init__(self, store: Store, rank: int, world_size: int, patience: float, end: Callable[[int], Any] = os._exit) -> None:
        self.store, self.rank, self.world_size, self.patience, self.end = store, rank, world_size, patience, end
        self.interval = min(max(patience / 20, 0.05), 5.0)
        self.main_thread = threading.main_thread().ident
        self.stack: tuple[Any, ...] = ()
        self.moved = self.reported = time.monotonic()
        self.computed = time.process_time()
        self.reports = 0
        self.heard = {each: _Heard({"where": "nowhere yet", "still": 0.0}, self.moved) for each in range(world_size)}
        self.last_word_at: float | None = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="growreel watchdog", daemon=True)
        self.thread.start()

    def has_moved(self) -> None:
        """This process is well, though its stack may look as before."""
        self.moved = time.monotonic()

    def stop(self) -> None:
        """End the thread, and tell the others that no more will be heard of this process."""
        self.stopping.set()
        self.thread.join(timeout=2 * self.interval + 1)
        try:
            self.store.set(f"at {self.rank}", json.dumps({"where": "the end", "still": self.patience, "left": True}))
        except RuntimeError:  # the process that keeps the store was faster
            return

    def leave_last_word(self, error: BaseException) -> None:
        """Tell the others what this process fails with."""
        message = str(error).strip() or type(error).__name__
        try:
            self.store.compare_set("last word", "", json.dumps([self.rank, message]))
        except RuntimeError:  # the store went with its process
            return

    def last_word(self) -> tuple[int, str] | None:
        """Rank and message of the process that failed first; None if none has."""
        try:
            if not self.store.check(["last word"]):
                return None
            rank, message = json.loads(self.store.get("last word"))
        except RuntimeError:
            return None
        return int(rank), str(message)

    def _watch(self) -> None:
        while not self.stopping.wait(self.interval):
            try:
                self._report()
                self._listen()
            except RuntimeError:  # the process that keeps the store has ended: its last word, if any, was read before
                return
            reason = self._reason_to_end()
            if reason and not self.stopping.is_set():
                print(f"growreel: process {self.rank}: {reason}", file=sys.stderr, flush=True)
                self.end(EXIT_CODE)
                return

    def _report(self) -> None:
        frames = _frames(sys._current_frames().get(self.main_thread or 0))
        stack, now = tuple((id(frame.f_code), frame.f_lasti) for frame in frames), time.monotonic()
        busy = time.process_time() - self.computed > BUSY * (now - self.reported)
        if busy or stack != self.stack:
            self.moved = now
        self.stack, self.reported, self.computed = stack, now, time.process_time()
        self.reports += 1
        report = {"number": self.reports, "where": _where(frames), "still": now - self.moved}
        self.store.set(f"at {self.rank}", json.dumps(report))

    def _listen(self) -> None:
        for each, known in self.heard.items():
            if self.store.check([f"at {each}"]):
                report = json.loads(self.store.get(f"at {each}"))
                if report != known.report:
                    self.heard[each] = _Heard(report, time.monotonic())
        if self.last_word_at is None and (last := self.last_word()) is not None and last[0] != self.rank:
            self.last_word_at = time.monotonic()

    def _reason_to_end(self) -> str | None:
        now = time.monotonic()
        if self.last_word_at is not None and now - self.last_word_at > GRACE_SECONDS:
            rank, message = self.last_word() or (0, "")
            return f"stopped because process {rank} did: {message}"
        silent = {each: now - known.at for each, known in self.heard.items() if "left" not in known.report}
        if any(seconds > self.patience for seconds in silent.values()):
            gone = "; ".join(
                f"process {each} was last heard of {seconds:.0f} s ago, in {self.heard[each].report['where']}"
                for each, seconds in silent.items()
                if seconds > self.patience
            )
            return f"{gone}. It was killed or stopped, or its node is gone; look for its messages"
        if all(known.report["still"] >= self.patience for known in self.heard.values()):
            places = "; ".join(f"process {each} in {known.report['where']}" for each, known in self.heard.items())
            return f"no process has moved for {self.patience:.0f} s (--training.watchdog_seconds): {places}"
        return None


def _frames(frame: FrameType | None) -> list[FrameType]:
    """The stack of a thread, innermost first."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _where(frames: list[FrameType]) -> str:
    """The innermost place in this package, for people."""
    for frame in frames:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            return f"{frame.f_code.co_name} ({path.relative_to(PACKAGE.parent)}:{frame.f_lineno})"
    return "code outside growreel"
