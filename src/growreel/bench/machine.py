"""What this machine can do at best: rates that the measured ones are held against."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from growreel.runtime.version import installed_version


class Yardsticks:
    """Measures the best rates of one device, anew at every call.

    Args:
        device: to measure.
        dtype: of the matrices.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.side = 8192 if device.type == "cuda" else 3072
        self.repeats = 20 if device.type == "cuda" else 2
        self.block = torch.ones(2**26, dtype=torch.float32, device=device)  # 256 MiB, beyond every cache
        self.target = torch.empty_like(self.block)
        self.matrix = torch.ones(self.side, self.side, dtype=dtype, device=device)

    def matrix_rate(self) -> float:
        """Return the floating-point operations a second of a product of two large square matrices."""
        return 2 * self.side**3 / self._warm_seconds(lambda: self.matrix @ self.matrix)

    def copy_rate(self) -> float:
        """Return the bytes a second, read and written, of copying a large block."""
        return 2 * self.block.numel() * self.block.element_size() / self._warm_seconds(lambda: self.target.copy_(self.block))

    def _warm_seconds(self, work: Callable[[], Any]) -> float:
        work()
        return seconds_each(work, self.repeats, self.device)


def seconds_each(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Return the seconds that `work` takes, on average over `times` calls in a row; no call before them warms up."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / times


def synchronize(device: torch.device) -> None:
    """Wait until a card has done all that it was given; a CPU is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return processor or card, threads, what it computes natively, and versions: facts without which figures of speed mean little."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "bfloat16": bool(torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "growreel": installed_version("growreel"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
