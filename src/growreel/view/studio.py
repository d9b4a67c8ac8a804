"""The one thread that has the models: what is asked for is made in turn, kept for a while, and not made at all when nobody waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from growreel.models.files import LoadedGenerator, load_generator
from growreel.view.server import Refused

MOST_WAITING = 256
MOST_KEPT_BYTES = 64 * 2**20
MOST_MODELS = 2


def last_in_line() -> None:
    """Let the calling thread, where the system can, run only when nobody else wants the processor: a training must not wait for clips."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


@dataclass
class _Job:
    key: Hashable
    make: Callable[[], bytes]
    waiters: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    error: Exception | None = None


class Studio:
    """Makes bytes - clips, frames, files - with models, one thing after the other. Safe to call from many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._jobs: dict[Hashable, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._change = threading.Condition()
        self._models: OrderedDict[tuple[Path, int], LoadedGenerator] = OrderedDict()
        self.made, self.left_out = 0, 0
        threading.Thread(target=self._work, daemon=True).start()

    def get(self, key: Hashable, make: Callable[[], bytes], is_wanted: Callable[[], bool], keep: bool = True) -> bytes:
        """Return what `make` returns, which is called in the studio's thread unless the same was made lately or is being made.

        Raises what `make` raises, and Refused if too much is waiting or the client has gone.
        """
        with self._change:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            job = self._jobs.get(key)
            if job is None:
                if len(self._queue) >= MOST_WAITING:
                    raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too much is waiting to be made; try again in a moment")
                job = self._jobs[key] = _Job(key, make)
                self._queue.append(job)
                self._change.notify()
            job.waiters += 1
        while not job.done.wait(0.1):
            if not is_wanted():
                with self._change:
                    job.waiters -= 1
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "no longer wanted")
        if job.error is not None:
            raise job.error
        if keep:
            self._keep(key, job.result)
        return job.result

    def model(self, path: Path) -> LoadedGenerator:
        """A model, loaded once for as long as its file stays the same. To be called by what the studio makes."""
        key = (path, path.stat().st_mtime_ns)
        if key not in self._models:
            while len(self._models) >= MOST_MODELS:
                self._models.popitem(last=False)
            self._models[key] = load_generator(path)
        self._models.move_to_end(key)
        return self._models[key]

    def _keep(self, key: Hashable, result: bytes) -> None:
        with self._change:
            if key in self._kept or len(result) > MOST_KEPT_BYTES // 4:
                return
            self._kept[key] = result
            self._kept_bytes += len(result)
            while self._kept_bytes > MOST_KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _work(self) -> None:
        last_in_line()
        while True:
            with self._change:
                while not self._queue:
                    self._change.wait()
                job = self._queue.popleft()
                if not job.waiters:
                    self.left_out += 1
                    del self._jobs[job.key]
                    continue
            try:
                job.result = job.make()
                self.made += 1
            except Exception as error:  # whatever it is belongs to those who wait
                job.error = error
            with self._change:
                del self._jobs[job.key]
            job.done.set()
