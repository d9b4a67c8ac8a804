"""One pass over a set of clips, through every extractor that a measurement needs; rows go to disk, so memory does not grow with clips."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from growreel.errors import GrowreelError
from growreel.evaluation.clips import ClipSet
from growreel.evaluation.rows import DamagedRows, RowFile, read_rows
from growreel.reading.npy import open_array
from growreel.runtime import distributed
from growreel.runtime.durable import replacing, writing

LOGGER = logging.getLogger("growreel")
CHUNK_BYTES = 2**23
"""Of uint8 clips read at a time."""


class Extractor(Protocol):
    """Maps clips uint8 [n, t, h, w, c] and their numbers to rows [n, ...]; row k depends on clip k and its number alone.

    `name` tells extractors of one evaluation apart.
    """

    name: str

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[Any]: ...

    def describe(self) -> dict[str, Any]:
        """Everything that decides the rows: network, sha256 of its file, resize, value range. It goes on the card and keys the cache."""
        ...


class Mirrored:
    """An extractor that is shown every clip mirrored left to right."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor, self.name = extractor, f"{extractor.name}-mirrored"

    def __call__(self, clips: NDArray[np.uint8], numbers: Sequence[int]) -> NDArray[Any]:
        return self.extractor(np.ascontiguousarray(clips[:, :, :, ::-1]), numbers)

    def describe(self) -> dict[str, Any]:
        return {**self.extractor.describe(), "mirrored": True}


def collect(
    clips: ClipSet,
    numbers: Sequence[int],
    extractors: Sequence[Extractor],
    folder: Path,
    *,
    reuse: bool = False,
    what: str = "clips",
    progress: bool = False,
) -> dict[str, NDArray[Any]]:
    """Rows [len(numbers), ...] of every extractor, by its name. With several processes each takes a share, and all get all rows.

    Args:
        folder: where the rows are written, one `.npy` per extractor. They stay there.
        reuse: name the files after what is in them, and take those that are there already and have the checksum that they were given;
            others are made anew, with a message.
        what: for the progress bar.

    Raises:
        GrowreelError: the folder cannot be written, a clip cannot be read, or there are fewer clips than processes.
    """
    prefix = _fingerprint(clips.describe(), list(map(int, numbers))) if reuse else what.replace(" ", "-")
    paths = {each.name: folder / f"{each.name}-{_fingerprint(prefix, each.describe())[:24]}.npy" for each in extractors}
    kept = {name: found for name, path in paths.items() if reuse and (found := _kept(path)) is not None}
    missing = [each for each in extractors if each.name not in kept]
    if len(numbers) < distributed.world_size():
        raise GrowreelError(f"{what}: {len(numbers)} are too few for {distributed.world_size()} processes; measure more")
    share = list(numbers)[distributed.rank() :: distributed.world_size()]
    with writing(folder), ExitStack() as stack:  # files appear under their names when all are whole
        folder.mkdir(parents=True, exist_ok=True)
        files = {each.name: RowFile(stack.enter_context(replacing(paths[each.name])), len(share)) for each in missing}
        clip_bytes = clips.size.voxels * clips.channels
        chunk = max(1, CHUNK_BYTES // clip_bytes)
        with tqdm(total=len(share), unit=" clips", desc=what, disable=not (progress and missing), dynamic_ncols=True, leave=False) as bar:
            for start in range(0, len(share) if missing else 0, chunk):
                part = share[start : start + chunk]
                pixels = clips.read(part)
                for each in missing:
                    files[each.name].append(each(pixels, part))
                bar.update(len(part))
        for file in files.values():
            file.seal()
    rows = {name: kept[name] if name in kept else open_array(path, "measure again") for name, path in paths.items()}
    return {name: distributed.gather_rows(each, len(numbers)) for name, each in rows.items()}


def _kept(path: Path) -> NDArray[Any] | None:
    """Rows that an earlier call has left; None where there are none, or they are not what was written: then they are made anew."""
    if not path.exists():
        return None
    try:
        return read_rows(path)
    except DamagedRows as reason:
        LOGGER.warning("%s. It is made anew now.", str(reason).partition(";")[0])
        return None


def _fingerprint(*what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()
