"""The only file that knows processes. Every function works with one process and no process group, too.

Gradients are averaged by one flat all-reduce after backward, not by DDP: with a double backward and with parameters that take
part only from some stage on, DDP gave wrong gradients without an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from growreel.errors import GrowreelError

T = TypeVar("T")


def setup(device: torch.device) -> None:
    """Join the process group that torchrun describes in the environment; without torchrun do nothing."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _made_here.append(dist.group.WORLD)


_made_here: list[Any] = []
"""The process group that `setup` has made, if it has made one."""


def shutdown() -> None:
    """Leave the process group that `setup` joined; one that the caller had made before stays as it is."""
    if _made_here and dist.is_initialized() and dist.group.WORLD is _made_here[-1]:
        dist.destroy_process_group()
    _made_here.clear()


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
        name = f"cuda:{local_rank()}"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise GrowreelError(f"{flag} {name}: is not usable here ({str(error).splitlines()[0]}); try cpu") from error


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def from_first(value: T) -> T:
    """What the first process has, in all of them (plain values only)."""
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


def any_true(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds in any process, so that all of them take the same branch."""
    if world_size() == 1:
        return flag
    total = torch.tensor([float(flag)], device=device)
    dist.all_reduce(total)
    return bool(total.item() > 0)


def gather_rows(mine: NDArray[Any], total: int) -> NDArray[Any]:
    """All rows [total, ...] in every process, where process r of w has made rows r, r + w, r + 2w, ... and each at least one."""
    processes = world_size()
    if processes == 1:
        return mine
    padded = np.zeros((-(-total // processes), *mine.shape[1:]), mine.dtype)
    padded[: len(mine)] = mine
    device = torch.device("cuda", local_rank()) if dist.get_backend() == "nccl" else torch.device("cpu")
    flat = torch.from_numpy(padded.reshape(-1).view(np.uint8)).to(device)  # as bytes every dtype travels
    parts = [torch.empty_like(flat) for _ in range(processes)]
    dist.all_gather(parts, flat)
    rows = np.stack([part.cpu().numpy().view(mine.dtype).reshape(padded.shape) for part in parts], axis=1)
    return rows.reshape(-1, *mine.shape[1:])[:total]


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over the processes, flattened into one all-reduce.

    A parameter without a gradient here counts as zero, for it may have one elsewhere; one that has none anywhere keeps none, which
    is the case for every block of a later stage and the same in all processes.
    """
    if world_size() == 1:
        return
    with_gradient = [p for p in parameters if p.requires_grad]
    present = torch.tensor([float(p.grad is not None) for p in with_gradient], device=with_gradient[0].device)
    dist.all_reduce(present)
    active = [p for p, count in zip(with_gradient, present.tolist(), strict=True) if count > 0]
    if not active:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in active]
    flat = mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for parameter, averaged in zip(active, torch.split(flat, [p.numel() for p in active]), strict=True):
        parameter.grad = averaged.view_as(parameter)
