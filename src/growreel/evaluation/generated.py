"""Clips of a model as a set that can be measured, and of which classes a conditional one makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.data.classes import class_numbers
from growreel.data.split import Part, clips_of
from growreel.data.store import ClipStore
from growreel.evaluation.clips import choose_real
from growreel.growth import Position
from growreel.models.generator import Generator
from growreel.runtime.precision import Arithmetic
from growreel.sampling import clips_of_seeds


class GeneratedClips:
    """Clips of a generator as a set to measure (`evaluation.clips.ClipSet`): clip k is the sample of seed `first_seed + k`.

    Args:
        channels: that the generator makes.
        count: how many clips there are.
        facts: what `describe` adds, such as the model file and its sha256.
        precision: as of `generate`.
        classes: of each clip, by number, for a conditional generator; None takes all in turn.

    Attributes:
        chosen: names of the classes, if somebody asked for some.
    """

    def __init__(
        self,
        generator: Generator,
        position: Position,
        channels: int,
        count: int,
        first_seed: int = 0,
        facts: dict[str, Any] | None = None,
        precision: Arithmetic = "float32",
        classes: Sequence[int] | None = None,
    ) -> None:
        self.generator, self.position, self.count, self.first_seed, self.precision = generator, position, count, first_seed, precision
        self.size, self.channels = generator.plan.sizes[position.stage], channels
        self.sources: Sequence[str] | None = None
        self.warnings: Sequence[str] = ()
        self.classes, self._facts = classes, facts or {}
        self.chosen: Sequence[str] | None = None

    def __len__(self) -> int:
        return self.count

    def read(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        classes = None if self.classes is None else [self.classes[number] for number in numbers]
        return clips_of_seeds(self.generator, self.position, [self.first_seed + number for number in numbers], self.precision, classes)

    def describe(self) -> dict[str, Any]:
        made = {"first_seed": self.first_seed, "precision": self.precision}
        return {"kind": "model", **self._facts, "size": str(self.size), **made}


def classes_of_real(
    store: ClipStore, known: Sequence[str], count: int, seed: int, part: Part = "training", wanted: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """The classes of the real clips that `choose_real` chooses, as places in `known`, -1 for those that have none of these labels.

    A conditional model is asked for clips in the proportions of these, so that no figure says that one set has more of a class than the
    other. Of `wanted` classes, if they are given, only clips of these are chosen from; there may be none.
    """
    numbers = class_numbers(store, known)[clips_of(store, part)]
    if wanted is not None:
        numbers = numbers[np.isin(numbers, [known.index(name) for name in wanted])]
    return numbers[choose_real(numbers, count, seed)]
