"""From the host's memory to a device and back without making either wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(arrays: Sequence[NDArray[np.float32]], device: torch.device) -> list[Tensor]:
    """Float32 arrays as tensors on a device, of the same shapes.

    On a card they travel together, in one copy from pinned memory that the host does not wait for.
    """
    if device.type != "cuda":
        return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]
    packed = torch.empty(sum(array.size for array in arrays), pin_memory=True)
    np.concatenate([array.ravel() for array in arrays], out=packed.numpy())
    parts = packed.to(device, non_blocking=True).split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


NamedValues = list[tuple[str, float]]


class DelayedValues:
    """Named values that are computed on a device, brought to the host in the order in which they come.

    On a card a row is handed out when the next one has been put in: by then it has arrived, so the host is never kept waiting for the
    step that it has just begun. On a CPU every row is handed out at once.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[str], Tensor, torch.cuda.Event]] = []

    def put(self, names: Sequence[str], row: Tensor) -> list[NamedValues]:
        """Take a row [k] with its k names, which may repeat, and return the rows that are due."""
        if row.device.type != "cuda":
            return [list(zip(names, row.tolist(), strict=True))]
        host = torch.empty(row.shape, dtype=row.dtype, pin_memory=True)
        host.copy_(row, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        due = self.take_all()
        self._waiting.append((names, host, event))
        return due

    def take_all(self) -> list[NamedValues]:
        """Wait for what is still on its way and return it."""
        waiting, self._waiting = self._waiting, []
        rows = []
        for names, host, event in waiting:
            event.synchronize()
            rows.append(list(zip(names, host.tolist(), strict=True)))
        return rows

    def clear(self) -> None:
        """Forget what is still on its way."""
        self._waiting.clear()
