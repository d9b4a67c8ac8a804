"""Sets of clips that can be measured: a clip store, an array, a folder of videos. (A model is one too, see `sampling.GeneratedClips`.)

A set holds still: clip k is the same whenever it is read, so features can be taken in any order, by any number of processes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from growreel.data.classes import class_numbers
from growreel.data.pyramid import box_average
from growreel.data.record import DataRecord
from growreel.data.split import Part, clips_of
from growreel.data.store import INDEX, ClipStore, file_checksum
from growreel.errors import GrowreelError
from growreel.growth import Size, TimeReduction
from growreel.reading.npy import open_array
from growreel.recipe import read_recipe
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.video import DamagedError, NotMediaError, read_frames


class ClipSet(Protocol):
    """Clips by number.

    Attributes:
        size, channels: of every clip.
        sources: the video that each clip was cut from, or None where clips have nothing in common.
        warnings: what the reader of a metric card must know.
    """

    size: Size
    channels: int
    sources: Sequence[str] | None

    @property
    def warnings(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Clips uint8 [n, t, h, w, c]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Facts for the metric card; with a `sha256` they say exactly which clips these are."""
        ...


def choose_real(clips: Sized, count: int, seed: int) -> list[int]:
    """Numbers of at most `count` clips, the same for the same seed, in the order of the set."""
    return sorted(keyed_rng(Purpose.EVALUATION, seed, 0).permutation(len(clips))[:count].tolist())


class StoreClips:
    """Clips of a store at `size` (default the full one): box averages of the full clips, or frames left out, as training takes them.

    `part` says which clips, and `classes`, if given, that only those of these labels; clip k is the k-th of them.
    """

    def __init__(
        self,
        store: ClipStore,
        size: Size | None = None,
        time_reduction: TimeReduction = "average",
        part: Part = "training",
        classes: Sequence[str] | None = None,
    ) -> None:
        """Raises GrowreelError if the store's clips are not a whole multiple of `size`, or it has no such part."""
        self.part, self.classes, self.numbers = part, classes, clips_of(store, part)
        if classes is not None:
            self.numbers = self.numbers[class_numbers(store, classes)[self.numbers] >= 0]
        self.store, self.size, self.channels = store, size or store.size, store.channels
        self.sources: Sequence[str] | None = [store.clips[number].source for number in self.numbers]
        self.warnings: Sequence[str] = ()
        self._level = store.level_for(self.size, time_reduction)
        self._every = self._level.t // self.size.t if time_reduction == "subsample" else 1

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        clips = self.store.read(self.numbers[numbers].tolist(), self._level)[:, :: self._every]
        boxes = Size(*(a // b for a, b in zip(clips.shape[1:4], self.size, strict=True)))
        return clips if boxes.voxels == 1 else box_average(clips, boxes)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "clip store",
            "path": str(self.store.path),
            "sha256": file_checksum(self.store.path / INDEX),  # the index holds the checksum of every shard
            "content": DataRecord.of(self.store).sha256,  # wherever the store lies and whatever its sources are called
            "clips": len(self),
            **({"part": self.part} if self.store.held_out else {}),
            **({"classes": list(self.classes)} if self.classes is not None else {}),
            "size": str(self.size),
            "stored_size": str(self.store.size),
            "fps": self.store.fps * self.size.t / self.store.size.t,
            "takes_every": self._every,
            "prepared_with": {name: value for name, value in self.store.options.items() if value is not None},
        }


ARRAY = "the array"
"""What messages call an array that is no file."""


GIVE = "give a .npy file of uint8 clips [n, t, h, w, c]"


class ArrayClips:
    """Clips of an array, uint8 [n, t, h, w, c], in memory or in a `.npy` file, which is read as needed, never all at once."""

    def __init__(self, source: Path | NDArray[np.uint8]) -> None:
        """Raises GrowreelError for something that is not such an array."""
        self.path = None if isinstance(source, np.ndarray) else source
        clips = source if isinstance(source, np.ndarray) else open_array(source, GIVE)
        _check_array(str(self.path or ARRAY), clips)
        self._clips = clips
        self.size, self.channels = Size(*clips.shape[1:4]), int(clips.shape[4])
        self.sources: Sequence[str] | None = None
        self.warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self._clips[list(numbers)])

    def describe(self) -> dict[str, Any]:
        """An array in memory has the checksum of its pixels; a file of samples comes with what was written beside it."""
        if self.path is None:
            where: dict[str, Any] = {"sha256": _pixel_checksum(self._clips)}
        else:
            where = {"path": str(self.path), "sha256": file_checksum(self.path)}
            with suppress(GrowreelError):  # no array has to have one
                where["made"] = "; ".join(" ".join(line.split()) for line in read_recipe(self.path).table().splitlines())
        return {"kind": "array", **where, "clips": len(self), "size": str(self.size)}


def _pixel_checksum(clips: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(np.ascontiguousarray(clip).data)
    return digest.hexdigest()


def _check_array(path: str, clips: NDArray[Any]) -> None:
    if clips.dtype != np.uint8:
        raise GrowreelError(
            f"{path}: holds {clips.dtype} values; clips are uint8 from 0 to 255. Convert them yourself, so that the range is not guessed"
        )
    if clips.ndim != 5 or clips.shape[4] not in (1, 3) or 0 in clips.shape:
        raise GrowreelError(
            f"{path}: has the shape {list(clips.shape)}; clips are [n, t, h, w, c], c 1 or 3: move the axes with np.moveaxis"
        )


class VideoClips:
    """One clip from every video of a folder: its first `frames` frames, never resized.

    The videos are decoded once, into a temporary file that goes when the set is closed.
    """

    def __init__(self, folder: Path, frames: int, channels: int) -> None:
        """Raises GrowreelError if videos differ in size, or none has `frames` frames. Shorter and damaged ones become warnings."""
        self.folder, self.channels = folder, channels
        self.sources: Sequence[str] | None = None
        self.warnings: list[str] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the set
        self._digest, self._count = hashlib.sha256(), 0
        try:
            self.size = self._fill(frames)
        except BaseException:
            self.close()
            raise

    def _fill(self, frames: int) -> Size:
        """Decode every video; the size of all clips."""
        first: tuple[Path, tuple[int, ...]] | None = None
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            clip = self._decode(path, frames)
            if clip is None:
                continue
            first = first or (path, clip.shape)
            if clip.shape != first[1]:
                raise GrowreelError(
                    f"{path}: has {clip.shape[1]}x{clip.shape[2]} pixels, {first[0]} {first[1][1]}x{first[1][2]}; a hidden resize would "
                    "change the numbers: make them one size with growreel prepare and give the store"
                )
            self._file.write(clip.tobytes())
            self._digest.update(clip.tobytes())
            self._count += 1
        if first is None:
            raise GrowreelError(
                f"{self.folder}: has no video of at least {frames} frames{self._reasons()}; give clips as long as the real ones"
            )
        self._file.flush()
        return Size(*first[1][:3])

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def _decode(self, path: Path, frames: int) -> NDArray[np.uint8] | None:
        """The first frames [t, h, w, c], or None and a warning."""
        taken: list[NDArray[np.uint8]] = []
        try:
            for frame in read_frames(path, colors=3 if self.channels == 3 else 1):
                taken.append(frame)
                if len(taken) == frames:
                    return np.stack(taken)
        except NotMediaError:
            self.warnings.append(f"{path.name}: left out, it is no video")
            return None
        except DamagedError as error:
            self.warnings.append(f"{path.name}: left out after {len(taken)} frames, {error}")
            return None
        self.warnings.append(f"{path.name}: left out, it has {len(taken)} frames of the {frames} needed")
        return None

    def _reasons(self) -> str:
        shown = "; ".join(self.warnings[:3])
        return f" ({shown}{'; ...' if len(self.warnings) > 3 else ''})" if shown else ""

    def __len__(self) -> int:
        return self._count

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        clip_bytes = self.size.voxels * self.channels
        clips = []
        for number in numbers:
            self._file.seek(number * clip_bytes)
            clips.append(np.frombuffer(self._file.read(clip_bytes), np.uint8))
        return np.stack(clips).reshape(len(clips), *self.size, self.channels)

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "folder of videos",
            "path": str(self.folder),
            "sha256": self._digest.hexdigest(),  # of the decoded pixels
            "clips": len(self),
            "size": str(self.size),
        }


class FirstFrames:
    """The first frames of every clip of a set."""

    def __init__(self, clips: ClipSet, frames: int) -> None:
        """Raises GrowreelError if the clips are shorter."""
        if clips.size.t < frames:
            raise GrowreelError(
                f"--clip-frames {frames}: {clips.describe().get('path', ARRAY)} has clips of {clips.size.t} frames; ask for fewer"
            )
        self.clips, self.size, self.channels = clips, clips.size._replace(t=frames), clips.channels
        self.sources, self.warnings = clips.sources, clips.warnings

    def __len__(self) -> int:
        return len(self.clips)

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.clips.read(numbers)[:, : self.size.t])

    def describe(self) -> dict[str, Any]:
        return {**self.clips.describe(), "size": str(self.size), "first_frames_of": self.clips.size.t}
