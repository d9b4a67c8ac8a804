"""What every metric asks of the rows it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError

Counts = NDArray[np.int64]
"""How often each of n clips is counted, [n]."""
CHUNK_VALUES = 2**22


def check_rows(name: str, rows: NDArray[Any], least: int = 1) -> None:
    """Raise GrowreelError if there are fewer than `least` clips, or rows with values that are not finite. `name` says whose rows."""
    if len(rows) < least:
        raise GrowreelError(f"{name}: {len(rows)} clips are too few for this metric; give at least {least}")
    bad = sum(int((~np.isfinite(part.reshape(len(part), -1)).all(axis=1)).sum()) for part in chunks(rows))
    if bad:
        raise GrowreelError(f"{name}: features are not finite for {bad} of {len(rows)} clips; look at these clips, or at the weights file")


def check_dimensions(real: NDArray[Any], fake: NDArray[Any]) -> None:
    """Raise GrowreelError unless the rows of both sets have one shape; features of frames [n, t, d] may have another t."""
    shapes = {rows.shape[2:] if rows.ndim == 3 else rows.shape[1:] for rows in (real, fake)}
    if real.ndim != fake.ndim or len(shapes) > 1:
        raise GrowreelError(f"features of real clips are {list(real.shape[1:])}, of fake ones {list(fake.shape[1:])}; they must agree")


def chunks(rows: NDArray[Any], values_per_row: int = 0) -> Iterator[NDArray[Any]]:
    """The rows in parts small enough to be copied, in order; they may lie on disk. `values_per_row`, if more than a row's own, counts."""
    step = max(1, CHUNK_VALUES // max(1, int(np.prod(rows.shape[1:])), values_per_row))
    for start in range(0, len(rows), step):
        yield np.asarray(rows[start : start + step])


def samples_and_counts(rows: NDArray[Any], counts: Counts | None) -> tuple[NDArray[Any], Counts]:
    """Rows [n, d] or [n, t, d] as samples [n or n * t, d]; every frame counts as often as its clip."""
    clips = np.ones(len(rows), np.int64) if counts is None else counts
    if rows.ndim == 2:
        return rows, clips
    return rows.reshape(-1, rows.shape[-1]), clips.repeat(rows.shape[1])
