"""Clips of a store as batches for the discriminator: which clips, mirrored or not, at which size, is a function of the position.

Nothing here has a state that a checkpoint would have to keep. One background thread reads the batch that comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.data.classes import class_numbers
from growreel.data.split import clips_of
from growreel.data.store import ClipStore
from growreel.growth import Size, TimeReduction
from growreel.models.layers import downsample
from growreel.runtime.randomness import Purpose, keyed_rng
from growreel.runtime.transfer import to_device


class ClipBatches:
    """Batches at any position of a run.

    The clips come in epochs, each a permutation of the store's training clips that depends on (seed, epoch). Of the clips `clips_shown` to
    `clips_shown + minibatch` process r of w takes every w-th, from the r-th on: the groups of the minibatch standard deviation are
    then the same for every number of processes.

    Args:
        classes: names of a conditional model's classes, which the labels of the clips are among.
    """

    def __init__(
        self,
        store: ClipStore,
        *,
        seed: int,
        mirror: bool,
        device: torch.device,
        time_reduction: TimeReduction = "average",
        rank: int = 0,
        world_size: int = 1,
        classes: Sequence[str] = (),
    ) -> None:
        self.store, self.seed, self.mirror, self.device = store, seed, mirror, device
        self.time_reduction, self.rank, self.world_size = time_reduction, rank, world_size
        self.training_clips = clips_of(store, "training")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clip-reader")
        self._ahead: tuple[tuple[int, Size, int], Future[Tensor]] | None = None
        self._order = lru_cache(maxsize=2)(self._permutation)  # two: the reader is ahead of `classes_at`
        self._classes = class_numbers(store, classes) if classes else None

    def at(self, clips_shown: int, size: Size, minibatch: int) -> Tensor:
        """Real clips [minibatch / world_size, c, t, h, w] in -1 to 1 on the device, and start reading the batch after them."""
        request = (clips_shown, size, minibatch)
        if self._ahead is None or self._ahead[0] != request:
            self._ahead = (request, self._reader.submit(self._read, *request))
        raw = self._ahead[1].result()
        after = (clips_shown + minibatch, size, minibatch)
        self._ahead = (after, self._reader.submit(self._read, *after))
        clips = self._at_size(raw, size)
        if not self.mirror:
            return clips
        (mirrored,) = to_device([self._mirrored(clips_shown, minibatch)], self.device)
        return torch.where(mirrored.view(-1, 1, 1, 1, 1) > 0, clips.flip(-1), clips)

    def classes_at(self, clips_shown: int, minibatch: int) -> Tensor | None:
        """Return the class of each clip that `at` gives, [minibatch / world_size], int64, on the device; None without classes."""
        return self.classes_of(self._numbers(clips_shown, minibatch))

    def classes_of(self, numbers: Sequence[int]) -> Tensor | None:
        """Return the classes of clips by number, [n], int64, on the device; None without classes."""
        if self._classes is None:
            return None
        found = torch.from_numpy(self._classes[np.asarray(numbers, np.int64)])
        return (found.pin_memory() if self.device.type == "cuda" else found).to(self.device, non_blocking=True)

    def of(self, numbers: Sequence[int], size: Size) -> Tensor:
        """Clips by number [n, c, t, h, w] in -1 to 1 on the device, none mirrored. What is read ahead stays as it is."""
        return self._at_size(self._read_clips(numbers, size), size)

    def close(self) -> None:
        """Stop the background thread."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _read(self, clips_shown: int, size: Size, minibatch: int) -> Tensor:
        return self._read_clips(self._numbers(clips_shown, minibatch), size)

    def _numbers(self, clips_shown: int, minibatch: int) -> list[int]:
        """The clips of this process, by number."""
        return [self._index(place) for place in range(clips_shown + self.rank, clips_shown + minibatch, self.world_size)]

    def _read_clips(self, numbers: Sequence[int], size: Size) -> Tensor:
        level = self.store.level_for(size, self.time_reduction)
        buffer = torch.empty((len(numbers), *level, self.store.channels), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        self.store.read(numbers, level, out=buffer.numpy())
        return buffer

    def _at_size(self, raw: Tensor, size: Size) -> Tensor:
        """From bytes [n, t, h, w, c] of a stored level to clips of the stage."""
        raw = raw.to(self.device, non_blocking=True)
        if self.time_reduction == "subsample":
            raw = raw[:, :: raw.shape[1] // size.t]
        clips = raw.movedim(-1, 1).float().mul_(2 / 255).sub_(1)
        level = Size(*clips.shape[2:])
        return clips if level == size else downsample(clips, Size(*(a // b for a, b in zip(level, size, strict=True))))

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.training_clips))
        return int(self._order(epoch)[offset])

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return keyed_rng(Purpose.ORDER, self.seed, epoch).permutation(self.training_clips)

    def _mirrored(self, clips_shown: int, minibatch: int) -> NDArray[np.float32]:
        """1 for each clip of this process that is to be mirrored, 0 for the others."""
        heads = keyed_rng(Purpose.MIRROR, self.seed, clips_shown).random(minibatch) < 0.5
        return heads[self.rank :: self.world_size].astype(np.float32)
