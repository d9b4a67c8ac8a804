"""What `prepare` asks of those who do its tasks, wherever their processes are.

`crew.LocalCrew` has processes on this machine, `ray_crew.RayCrew` on those of a Ray cluster. Both give a task that costs its process back
as `Lost`, and the results in the order of the tasks, so nothing of what `prepare` writes depends on which of them it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

from growreel.errors import GrowreelError
from growreel.ranges import check_range

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
AHEAD = 8  # tasks that may be done before their turn, for each process


@dataclass(frozen=True)
class Lost:
    """In place of a result: what happened to the process that had the task."""

    reason: str


@dataclass(frozen=True)
class DiskTrouble:
    """In place of a result: the place for clips could not be written."""

    error: OSError


class Crew(Protocol):
    """Processes that do tasks; a context manager that ends them."""

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each task, in order, or Lost, or DiskTrouble. At most `AHEAD` tasks a process are worked on ahead. It may be
        called again before the last one has come to its end."""
        ...

    def threads(self, sources: int) -> int:
        """Threads for the decoder of each of so many sources."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def check_crew(engine: Engine, workers: int | None, time_limit: float, ray_address: str | None) -> None:
    """Raise GrowreelError, naming the flag, if one is out of range or does not go with another."""
    check_range("--time-limit", time_limit, above=0)
    check_range("--workers", workers, least=0)
    if engine not in ENGINES:
        raise GrowreelError(f"--engine {engine}: is unknown; use {' or '.join(ENGINES)}")
    if ray_address is not None and engine != "ray":
        raise GrowreelError(f"--ray-address {ray_address}: goes with --engine ray only; add that, or leave it out")
    if engine == "ray" and workers == 0:
        raise GrowreelError("--workers 0: decodes in this process, not on a Ray cluster; leave it or --engine ray out")


def start_crew(
    engine: Engine, workers: int | None, time_limit: float, *, shared: Sequence[Path] = (), ray_address: str | None = None
) -> Crew | None:
    """Start processes that do tasks; None where `workers` is 0 and this process has to do them.

    Args:
        engine: where they are.
        workers: how many; None for one on every core.
        time_limit: seconds without a sign of life until a process is given up.
        shared: files and folders that the machines of a cluster must see.
        ray_address: of a Ray cluster.

    Raises:
        GrowreelError: Ray is not installed or cannot be reached.
    """
    if engine == "ray":
        from growreel.preparation.ray_crew import RayCrew

        return RayCrew(workers, time_limit, shared, ray_address)
    from growreel.preparation.crew import LocalCrew, usable_cores

    count = usable_cores() if workers is None else workers
    return LocalCrew(count, time_limit) if count else None
