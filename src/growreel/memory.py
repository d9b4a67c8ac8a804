"""Memory of the process: how the C library hands it back, and the most that was used."""

from __future__ import annotations

import ctypes
import resource

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next tensor, instead of giving it back to the system.

    glibc maps every block beyond 32 MB anew, and every page of it must be faulted in again: at 16x64x64 that was a quarter of a
    training step on a CPU. Without glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that tensors held, else the most that the process held."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
