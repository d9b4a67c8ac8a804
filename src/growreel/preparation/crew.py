"""Processes that decode side by side, and outlive what files do to them.

Each process has a thread here that gives it one task at a time. A process that dies, or shows no sign of life for the time limit, is
replaced, and costs the one task it had. Results come in the order of the tasks, whoever was first.
"""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from growreel.preparation.dispatch import AHEAD, DiskTrouble, Lost
from growreel.runtime.child import start_child

START_LIMIT = 120.0  # seconds for a process to import what it needs


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalCrew:
    """`workers` processes; use it as a context manager. `limit`: seconds without a sign of life until a process is given up."""

    def __init__(self, workers: int, limit: float) -> None:
        self.workers = workers
        self._limit = limit
        self._processes: list[_Process] = []
        self._idle: deque[_Process] = deque()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._watching, daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.kill("closed")
        self._threads.shutdown(wait=True)
        for process in list(self._processes):
            process.end()

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        waiting: deque[Future[Any]] = deque()
        rest = iter(tasks)
        try:
            for task in itertools.islice(rest, self.workers * AHEAD):
                waiting.append(self._threads.submit(self._do, task))
            while waiting:
                result = waiting.popleft().result()
                for task in itertools.islice(rest, 1):
                    waiting.append(self._threads.submit(self._do, task))
                yield result
        finally:
            for future in waiting:
                future.cancel()

    def threads(self, sources: int) -> int:
        return max(1, self.workers // max(1, sources))

    def _do(self, task: Any) -> Any:
        if self._closed.is_set():
            return Lost("closed")
        try:
            process = self._idle.popleft()
        except IndexError:
            process = _Process(self._limit)
            self._processes.append(process)
            if self._closed.is_set():
                process.kill("closed")
        result = process.do(task)
        if process.alive:
            self._idle.append(process)
        else:
            process.end()
            self._processes.remove(process)
        return result

    def _watching(self) -> None:
        while not self._closed.wait(0.2):
            for process in list(self._processes):
                process.kill_if_silent()


class _Process:
    """One child process and what it is known to be doing."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._killed = ""
        self._started = False
        self._deadline = float("inf")
        self._child = start_child("growreel.preparation.worker")

    @property
    def alive(self) -> bool:
        return not self._killed and self._child.poll() is None

    def do(self, task: Any) -> Any:
        """Give it a task and wait for the result."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._deadline = time.monotonic() + (self._limit if self._started else START_LIMIT)
            pickle.dump(task, self._child.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._child.stdin.flush()
            while True:
                kind, value = pickle.load(self._child.stdout)
                self._started, self._deadline = True, time.monotonic() + self._limit
                if kind == "done":
                    return value
                if kind == "disk":
                    return DiskTrouble(OSError(*value))
        except (EOFError, OSError, pickle.UnpicklingError):
            return Lost(self._epitaph())
        finally:
            self._deadline = float("inf")

    def kill_if_silent(self) -> None:
        if time.monotonic() > self._deadline:
            self.kill(f"its decoder gave no sign of life for {self._limit:g} s; left out")

    def kill(self, reason: str) -> None:
        self._killed = self._killed or reason
        with suppress(OSError):
            self._child.kill()

    def end(self) -> None:
        """Take leave of the process: it ends when its input does."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._child.wait()

    def _epitaph(self) -> str:
        code = self._child.wait()
        if self._killed:
            return self._killed
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its decoder crashed ({name}); left out"
