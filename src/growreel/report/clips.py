"""The clips that a report shows: the newest samples, real ones, the same seeds at every stage, and nearest training clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.data.pyramid import box_average
from growreel.data.store import ClipStore
from growreel.errors import GrowreelError
from growreel.evaluation.clips import StoreClips, choose_real
from growreel.evaluation.copies import ClipHashes, source_groups
from growreel.evaluation.extractors.pixels import PixelFeatures
from growreel.evaluation.metrics.nearest import nearest_training_clips
from growreel.growth import Position, Size
from growreel.models.files import LoadedGenerator, load_generator
from growreel.recipe import Recipe, recipe_of
from growreel.report.folder import Run
from growreel.sampling import clips_of_seeds

SAMPLES = 16
STRIP_SEEDS = 8
LOOKED_THROUGH = 2048
"""Training clips among which the nearest is looked for; of more, so many by chance. `growreel evaluate` looks at all."""
UNSEEN = 256
"""Training clips whose own nearest neighbour says what distance is usual."""


@dataclass(frozen=True)
class Made:
    """Clips of a model: uint8 [n, t, h, w, c], their seeds, frames a second, clips shown, position and recipe."""

    clips: NDArray[np.uint8]
    seeds: tuple[int, ...]
    fps: float
    clips_shown: int
    position: Position
    recipe: Recipe


@dataclass(frozen=True)
class Real:
    """Real clips beside the samples, at their size, and what the training set says about distances.

    Attributes:
        clips: uint8 [m, t, h, w, c].
        total: clips in the store.
        looked_through: how many of them were compared.
        nearest: uint8 [n, t, h, w, c], the nearest training clip of each sample, mirrored where its mirror image is nearer.
        numbers: of these clips in the store.
        closeness: [n], distance of a sample to it over the usual distance between a real clip and its own nearest one; None where
            all clips come from one video.
        variety: mean distance between samples over that between real clips.
        motion: median change from frame to frame over that of real clips; None for clips of one frame.
        brightness: difference of the mean level, samples minus real clips, of 255.
    """

    clips: NDArray[np.uint8]
    total: int
    looked_through: int
    nearest: NDArray[np.uint8]
    numbers: list[int]
    closeness: NDArray[np.float64] | None
    variety: float
    motion: float | None
    brightness: float


def make(run: Run, clips_shown: int, count: int, stage: int | None = None) -> Made:
    """Clips of seeds 0 to count - 1 of a saved model, at its own place in the plan or at the end of `stage`."""
    model = load_generator(run.models[clips_shown])
    if stage is not None and model.position.stage != stage:
        model = dataclasses.replace(model, position=Position(stage, "stable", 1.0), fps=_fps_at(model, stage))
    clips = clips_of_seeds(model.generator, model.position, range(count))
    recipe = recipe_of(model, range(count), fps=model.fps, precision="float32", scale=1)
    return Made(clips, tuple(range(count)), model.fps, clips_shown, model.position, recipe)


def _fps_at(model: LoadedGenerator, stage: int) -> float:
    """A clip lasts as long at every stage."""
    return model.fps * model.generator.plan.sizes[stage].t / model.size.t


def film_strip(run: Run, count: int = STRIP_SEEDS) -> list[Made | None]:
    """The same seeds at the end of every stage that was entered; None where no model was saved in a stage."""
    found = [run.model_after_stage(stage) for stage in range(run.entered_stages())]
    return [None if clips is None else make(run, clips, count, stage) for stage, clips in enumerate(found)]


def compare_with_real(run: Run, made: Made, store: ClipStore) -> Real:
    """Real clips at the size of the samples, the nearest training clip of each, and how the two sets differ."""
    size = run.plan.sizes[made.position.stage]
    full = StoreClips(store, size, run.plan.time_reduction)
    small_size = _feature_size(run, size)
    small = StoreClips(store, small_size, run.plan.time_reduction)
    chosen = choose_real(small, LOOKED_THROUGH, seed=0)
    rows, mirrored, hashes = _look_through(small, chosen)
    reduced = box_average(made.clips, Size(*(a // b for a, b in zip(size, small_size, strict=True)))) if small_size != size else made.clips
    made_rows = PixelFeatures()(reduced, made.seeds)
    mirror = mirrored if run.config.training.mirror else rows
    near = nearest_training_clips(made_rows, rows, mirror)
    groups = source_groups([full.sources[number] for number in chosen] if full.sources else None, hashes)
    closeness = None
    if len(np.unique(groups)) > 1:
        usual = nearest_training_clips(rows[:UNSEEN], rows, mirror, groups[:UNSEEN], groups).distance
        closeness = near.distance / max(float(np.median(usual)), 1e-12)
    nearest = full.read([chosen[clip] for clip in near.clip])
    nearest[near.mirrored] = nearest[near.mirrored][:, :, :, ::-1]
    shown = [chosen[k] for k in np.linspace(0, len(chosen) - 1, min(SAMPLES, len(chosen))).round().astype(int)]
    real = full.read(shown)
    return Real(
        clips=real,
        total=len(store),
        looked_through=len(chosen),
        nearest=nearest,
        numbers=[chosen[clip] for clip in near.clip],
        closeness=closeness,
        variety=_spread(made_rows) / max(_spread(rows[:UNSEEN]), 1e-12),
        motion=None if size.t < 2 else _motion(made.clips) / max(_motion(real), 1e-12),
        brightness=float(made.clips.mean() - real.mean()),
    )


def _feature_size(run: Run, size: Size) -> Size:
    """The smallest size of the plan that has all that pixel features look at: small levels are read fast."""
    enough = [each for each in run.plan.sizes if each.t >= 4 and each.h >= 16 and each.w >= 16 and each.voxels <= size.voxels]
    return enough[0] if enough else size


def _look_through(clips: StoreClips, numbers: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Features of clips, of their mirror images, and digests."""
    features, digest = PixelFeatures(), ClipHashes()
    rows, mirrored, hashes = [], [], []
    for start in range(0, len(numbers), 128):
        part = numbers[start : start + 128]
        pixels = clips.read(part)
        rows.append(features(pixels, part))
        mirrored.append(features(np.ascontiguousarray(pixels[:, :, :, ::-1]), part))
        hashes.append(digest(pixels, part))
    if not rows:
        raise GrowreelError(f"{clips.store.path}: has no clips")
    return np.concatenate(rows), np.concatenate(mirrored), np.concatenate(hashes)


def _spread(rows: NDArray[np.float32]) -> float:
    """Mean distance between two different rows."""
    if len(rows) < 2:
        return 0.0
    wide = rows.astype(np.float64)
    squares = (wide**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * wide @ wide.T, 0))
    return float(distances.sum() / (len(rows) * (len(rows) - 1)))


def _motion(clips: NDArray[np.uint8]) -> float:
    """Median over clips of the mean change of a pixel from one frame to the next, in levels of 255."""
    changes = np.abs(np.diff(clips.astype(np.int16), axis=1)).mean(axis=(1, 2, 3, 4))
    return float(np.median(changes))
