"""The crew of a Ray cluster: its processes are children of actors, on whichever machines Ray finds a core.

An actor does what `crew` does on one machine, with one child: a film that crashes or stalls its decoder costs itself there as well, and
the actor lives on. The clips come back through files, in the folder that the store is being made in, so all machines must see that
folder and the films under the same paths; what travels through Ray are tasks and rows of reports.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from growreel.errors import GrowreelError
from growreel.preparation.crew import Crew, DiskTrouble, Lost, Process
from growreel.preparation.worker import Converted, ConvertTask

logger = logging.getLogger("growreel")

TRIES = 3
"""A task whose actor died with its machine is done on another one; a third death is taken for the film's doing."""
PATIENCE = 60.0
"""Seconds between words on waiting for a core of the cluster."""
ANSWER_LIMIT = 10.0
"""Seconds for the machine of RAY_ADDRESS to answer."""
PACKAGES = ("growreel", "numpy", "av", "pillow")
"""Other versions of these may give other bytes."""


class Facts(NamedTuple):
    """What an actor tells of its machine: its name, versions of `PACKAGES`, and which of the paths it was asked for it does not see."""

    host: str
    versions: tuple[str, ...]
    missing: tuple[str, ...]


class Decoder:
    """What an actor is: a crew of one. Ray makes it on a machine of the cluster."""

    def __init__(self, limit: float) -> None:
        self._crew = Crew(1, limit)

    def facts(self, paths: Sequence[str]) -> Facts:
        """Say what the machine is and sees."""
        return Facts(socket.gethostname(), tuple(map(version, PACKAGES)), tuple(path for path in paths if not Path(path).exists()))

    def do(self, task: Any) -> Any:
        """Do a task in the child."""
        return next(self._crew.run([task]))


class RayCrew(Crew):
    """Processes of the Ray cluster that RAY_ADDRESS names, or that the caller is connected to, or else of a Ray on this machine alone.

    Args:
        workers: how many; None for one on every core of the cluster.
        limit: seconds without a sign of life until a process is given up.
        paths: files and folders that every machine must see.

    Raises:
        GrowreelError: Ray is not installed or not reached, or has fewer cores than `workers`. While tasks are done: a machine sees not all
            `paths`, or has other versions of growreel or of what decodes.
    """

    def __init__(self, workers: int | None, limit: float, paths: Sequence[Path]) -> None:
        self._ray, self._is_ours = _connected(workers)
        self._paths = [str(path.resolve()) for path in paths if path.exists()]
        try:
            cores = int(self._ray.cluster_resources().get("CPU", 0))
            if workers is not None and workers > cores:
                raise GrowreelError(f"--workers {workers}: the Ray cluster has {cores} cores; give at most that, or add machines to it")
            self._actor = self._ray.remote(num_cpus=1)(Decoder)
            super().__init__(workers or max(1, cores), limit)
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """End all actors, and Ray if it was started here."""
        super().close()
        self._leave()

    def _leave(self) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def _start(self) -> Process:
        return _Remote(self._ray, self._actor, self._limit, self._paths)


class _Remote:
    """An actor, started when it has its first task, for then the thread that waits for it is its own."""

    def __init__(self, ray: ModuleType, actor: Any, limit: float, paths: list[str]) -> None:
        self._ray, self._actor, self._limit, self._paths = ray, actor, limit, paths
        self._lock = threading.Lock()
        self._handle: Any = None
        self._host = ""
        self._killed = ""

    @property
    def alive(self) -> bool:
        return not self._killed

    def do(self, task: Any) -> Any:
        for _ in range(TRIES):
            try:
                if self._handle is None:
                    self._begin()
                return self._checked(task, self._ray.get(self._handle.do.remote(task)))
            except self._ray.exceptions.RayActorError:
                if self._killed:
                    return Lost(self._killed)
                logger.warning("the Ray actor on %s died; its task is done by another one", self._host or "a machine")
                self._handle = None
        return Lost(f"{TRIES} Ray actors died of it; left out")

    def kill_if_silent(self) -> None:
        """Nothing: the actor looks after its own child, and Ray after the actor."""

    def kill(self, reason: str) -> None:
        with self._lock:
            self._killed = self._killed or reason
            if self._handle is not None:
                with suppress(Exception):  # Ray may be gone
                    self._ray.kill(self._handle)

    def end(self) -> None:
        self.kill("closed")

    def _begin(self) -> None:
        """Start the actor, as soon as the cluster has a core for it, and see whether its machine will do."""
        with self._lock:
            handle = self._actor.remote(self._limit)
            self._handle = handle
        if self._killed:
            self.kill(self._killed)
        asked = handle.facts.remote(self._paths)
        while not self._ray.wait([asked], timeout=PATIENCE)[0]:
            logger.warning("waiting for a free core of the Ray cluster")
        facts: Facts = self._ray.get(asked)
        self._host = facts.host
        if facts.missing:
            what = f"--engine ray: machine {facts.host} does not see {facts.missing[0]}"
            raise GrowreelError(f"{what}; all machines need a shared folder, under the same path")
        for package, there, here in zip(PACKAGES, facts.versions, map(version, PACKAGES), strict=True):
            if there != here:
                raise GrowreelError(f"--engine ray: machine {facts.host} has {package} {there}, this one {here}; install the same on all")

    def _checked(self, task: Any, result: Any) -> Any:
        """The result, unless it is in a file of that machine alone."""
        if isinstance(task, ConvertTask) and isinstance(result, Converted) and result.clips and not task.spool.exists():
            return DiskTrouble(
                OSError(errno.ENOENT, f"machine {self._host} wrote clips into another folder of this name: it is not shared")
            )
        return result


def _connected(workers: int | None) -> tuple[ModuleType, bool]:
    """Ray, and whether it has to be left at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise GrowreelError("--engine ray: needs the extra `ray`; install it with: pip install 'growreel[ray]'") from error
    if ray.is_initialized():
        return ray, False
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        where = f"RAY_ADDRESS {address}" if address else "Ray on this machine"
        raise GrowreelError(f"--engine ray: {where} cannot be reached ({str(error).strip().splitlines()[0]}); see `ray status`") from error
    return ray, True


def _check_answers(address: str) -> None:
    """Ray itself would try for three minutes. Raises OSError."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)", address)
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=ANSWER_LIMIT).close()
