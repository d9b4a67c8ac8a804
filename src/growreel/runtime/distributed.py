"""The only file that knows processes. Every function works with one process and no process group, too.

Gradients are averaged by one flat all-reduce after backward, not by DDP: with a double backward and with parameters that take
part only from some stage on, DDP gave wrong gradients without an error.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.runtime.meeting import part_of, store_of_this_start
from growreel.runtime.watchdog import Watchdog

T = TypeVar("T")


@contextmanager
def process_group(device: torch.device, patience: float) -> Iterator[None]:
    """Make `device` the one that this process means by `cuda`, and be one of the processes that torchrun describes in the environment.

    Several processes on one card (more local ranks than cards) talk through the host: NCCL wants a card for each. A process group that
    the caller has made already is used, and stays as it is.

    Args:
        device: of this process.
        patience: seconds that a process waits for others that do not move, see `watchdog`.

    Raises:
        GrowreelError: with its rank and message, if another process has failed; and if not all have come within `patience`.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)  # collectives of objects, and what libraries allocate, go to the current card
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    limit = timedelta(seconds=patience)
    store, rank, world_size = store_of_this_start(limit)
    group: dict[str, Any] = {"store": store, "rank": rank, "world_size": world_size, "timeout": 10 * limit}  # the watchdog is faster
    if device.type != "cuda" or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > torch.cuda.device_count():
        dist.init_process_group("gloo", **group)
    else:
        dist.init_process_group("nccl", device_id=device, **group)
    watchdog = Watchdog(part_of(store.clone(), "watchdog"), rank, world_size, patience)  # type: ignore[attr-defined]  # clone: not in the stubs
    _watchdogs.append(watchdog)
    try:
        yield
    except BaseException as error:
        watchdog.leave_last_word(error)
        last = watchdog.last_word()
        if isinstance(error, RuntimeError) and last is not None and last[0] != rank:  # a collective that the other one has left
            raise GrowreelError(f"process {last[0]} stopped: {last[1]}") from error
        raise
    finally:
        _watchdogs.remove(watchdog)
        watchdog.stop()
        dist.destroy_process_group()


_watchdogs: list[Watchdog] = []
"""The one of the process group that `process_group` has made, if it has made one."""


def wait_on_purpose(seconds: float) -> None:
    """Sleep, as a process may that has been told to: no watchdog takes it for one that hangs."""
    time.sleep(seconds)
    for watchdog in _watchdogs:
        watchdog.has_moved()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def pick_device(name: str, flag: str) -> torch.device:
    """The device `name` as PyTorch calls it, `cuda` being this process's own card; `auto` is that card where there is one, else the CPU.

    Raises GrowreelError, naming `flag`, for a device that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{local_rank() % max(torch.cuda.device_count(), 1)}"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise GrowreelError(f"{flag} {name}: is not usable here ({str(error).splitlines()[0]}); try cpu") from error


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def from_first(value: T) -> T:
    """Return in all processes what the first one has (plain values only)."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box)
    return box[0]


def mean(values: Tensor) -> Tensor:
    """Average a tensor over the processes, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def gather_rows(own_rows: NDArray[Any], total: int) -> NDArray[Any]:
    """Return all rows [total, ...] in every process, where process r of w has made rows r, r + w, r + 2w, ... and each at least one."""
    processes = world_size()
    if processes == 1:
        return own_rows
    padded = np.zeros((-(-total // processes), *own_rows.shape[1:]), own_rows.dtype)
    padded[: len(own_rows)] = own_rows
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    flat = torch.from_numpy(padded.reshape(-1).view(np.uint8)).to(device)  # as bytes every dtype travels
    parts = [torch.empty_like(flat) for _ in range(processes)]
    dist.all_gather(parts, flat)
    rows = np.stack([part.cpu().numpy().view(own_rows.dtype).reshape(padded.shape) for part in parts], axis=1)
    return rows.reshape(-1, *own_rows.shape[1:])[:total]


@torch.no_grad()
def check_equal(tensors: dict[str, Tensor], what: str) -> None:
    """Raise GrowreelError, naming ranks and the first tensor that differs, unless all processes hold the same bits.

    Compared are sums of 32-bit words, so that it costs one pass over the weights and a few numbers on the way.
    """
    if world_size() == 1:
        return
    own = torch.stack([tensor.detach().contiguous().view(torch.int32).sum(dtype=torch.int64) for tensor in tensors.values()])
    sums = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(sums, own)
    differ = {each: (sums[0] != other).nonzero() for each, other in enumerate(sums)}
    if strangers := {each: list(tensors)[int(where[0])] for each, where in differ.items() if len(where)}:
        named = ", ".join(f"process {each} (first in {name})" for each, name in strangers.items())
        raise GrowreelError(
            f"{what} of {named} are not those of process 0, so this is no longer one training. Unlike cards or drivers round differently; "
            "use processes on equal machines, and go on from the newest checkpoint with the same command"
        )


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over the processes, flattened into one all-reduce.

    Which parameters have one is decided by stage and phase, so it is the same in all processes and need not be asked.
    """
    if world_size() == 1:
        return
    active = [p for p in parameters if p.grad is not None]
    flat = mean(torch.cat([p.grad.flatten() for p in active if p.grad is not None]))
    for parameter, averaged in zip(active, torch.split(flat, [p.numel() for p in active]), strict=True):
        parameter.grad = averaged.view_as(parameter)
