"""New clips from a model: by seeds, or along a smooth walk through the latent space."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.continuation import check_length, lengthened
from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.models.files import LoadedGenerator
from growreel.models.generator import Generator
from growreel.models.levels import to_levels
from growreel.models.window import frames_of_clips
from growreel.ranges import check_range
from growreel.recipe import Recipe, at_stage
from growreel.runtime.durable import replacing, writing
from growreel.runtime.latents import Mix, Place, arc, classes_of_places, latents_of_places
from growreel.runtime.precision import Arithmetic, named_arithmetic, use_arithmetic
from growreel.runtime.randomness import Purpose, keyed_rng, latents_of_seeds
from growreel.video import captioned, check_suffix, enlarge, tile_grid, write_clip
from growreel.video.comments import write_beside

LOG = logging.getLogger(__name__)
CARD_QUEUE = 16
"""Clips that a card is given to make, one after the other, before the first is fetched: waiting for each would leave it idle in between."""


def generate(
    model: LoadedGenerator,
    seeds: Sequence[Place],
    truncation: float = 1.0,
    precision: Arithmetic = "float32",
    classes: str | Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """Clips of a loaded model, all at once; `stream` takes the same arguments and yields them one by one.

    Args:
        model: from `load_generator`.
        seeds: one non-negative integer per clip; clip k depends on seeds[k] alone, not on how many are asked for. A `Mix` of two seeds
            may stand for one.
        truncation: below 1 fewer surprises and less variety, 0 the model's single mean clip; see Generator.forward.
        precision: float32; tf32 (on a CUDA card) or bfloat16, which may be faster there; bfloat16 differs by a quarter of a level (of 256)
            on average.
        classes: for a conditional model, which of its classes to make, as names, or a text such as `walk,wave`; seed s gets the one of
            number s modulo how many they are. None takes all of the model's in turn.

    Returns:
        uint8 [n, t, h, w, c].

    Raises:
        GrowreelError: no seeds, a negative seed, a negative truncation, a precision that the model's device does not have, or classes that
            the model does not have.
    """
    return np.stack(list(stream(model, seeds, truncation, precision, classes)))


def stream(
    model: LoadedGenerator,
    seeds: Sequence[Place],
    truncation: float = 1.0,
    precision: Arithmetic = "float32",
    classes: str | Sequence[str] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Clips of a loaded model, uint8 [t, h, w, c] each, made while they are taken. Arguments and errors as of `generate`."""
    seeds = [seed if isinstance(seed, Mix) else int(seed) for seed in seeds]
    if not seeds or any(isinstance(seed, int) and seed < 0 for seed in seeds):
        raise GrowreelError(f"seeds: {seeds} must be at least one non-negative integer")
    check_range("--truncation", truncation, least=0)
    numbers = class_numbers(model, seeds, classes)
    _announce(model, len(seeds), precision)
    latents = torch.from_numpy(latents_of_places(seeds, model.generator.latent_dim))
    return clips_of_latents(model.generator, model.position, latents, truncation, precision, classes=numbers)


def class_numbers(model: LoadedGenerator, places: Sequence[Place], wanted: str | Sequence[str] | None) -> Tensor | None:
    """Return the class of each seed, [n] int64, of those that are wanted; None for a model without. Errors as of `chosen_classes`."""
    names = model.chosen_classes(wanted)
    return None if names is None else torch.from_numpy(classes_of_places(places, [model.classes.index(name) for name in names]))


def class_number(model: LoadedGenerator, place: Place, wanted: str | Sequence[str] | None) -> int | None:
    """Return the class of one seed as `class_numbers` does."""
    numbers = class_numbers(model, [place], wanted)
    return None if numbers is None else int(numbers)


def _announce(model: LoadedGenerator, clips: int, precision: str) -> None:
    """Tell the log what arithmetic was chosen. Raises as `named_arithmetic`: now, not with the first clip."""
    device = next(model.generator.parameters()).device
    LOG.info("making %d clips in %s on %s", clips, named_arithmetic(precision, "--precision", device), device)


def clips_of_seeds(
    generator: Generator,
    position: Position,
    seeds: Sequence[int],
    precision: Arithmetic = "float32",
    classes: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """One clip per seed, uint8 [n, t, h, w, c], of a generator at any position of its plan.

    With `classes`, a number for each clip, they are of those; a conditional generator else makes all that it has in turn, by seed.
    """
    latents, numbers = torch.from_numpy(latents_of_seeds(seeds, generator.latent_dim)), None
    if generator.classes:
        every = classes_of_places(seeds, range(generator.classes))
        numbers = torch.from_numpy(every if classes is None else np.asarray(classes, np.int64))
    return np.stack(list(clips_of_latents(generator, position, latents, precision=precision, classes=numbers)))


def clips_of_latents(
    generator: Generator,
    position: Position,
    latents: Tensor,
    truncation: float = 1.0,
    precision: str = "float32",
    frames: Sequence[range] | None = None,
    classes: Tensor | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield one clip uint8 [t, h, w, c] per latent [latent_dim], and make no other; of each only `frames`, if they are given.

    `classes` [n], int64, are those of a conditional generator's clips.

    Every clip is computed alone: libraries choose their kernels, and with them the rounding, by the size of a batch, so that in a batch a
    clip's pixels could depend on how many are asked for. The settings of `use_arithmetic` hold while clips are computed, not between.
    Raises GrowreelError as `runtime.precision.named_arithmetic` does.
    """
    device = next(generator.parameters()).device
    arithmetic = named_arithmetic(precision, "--precision", device)
    queue = CARD_QUEUE if device.type == "cuda" else 1
    for start in range(0, len(latents), queue):
        some = None if frames is None else frames[start : start + queue]
        part = slice(start, start + queue)
        numbers = None if classes is None else classes[part].to(device)
        yield from _computed(generator, position, latents[part].to(device), truncation, arithmetic, some, numbers)


@torch.no_grad()
def _computed(
    generator: Generator,
    position: Position,
    latents: Tensor,
    truncation: float,
    arithmetic: Arithmetic,
    frames: Sequence[range] | None,
    classes: Tensor | None,
) -> list[NDArray[np.uint8]]:
    dtype = torch.bfloat16 if arithmetic == "bfloat16" else torch.float32
    how = (position.stage, position.alpha, truncation, dtype)
    each = [None if classes is None else classes[k : k + 1] for k in range(len(latents))]
    with use_arithmetic(arithmetic, repeatable=True):
        if frames is None:
            levels = [to_levels(generator(latent[None], *how, one)) for latent, one in zip(latents, each, strict=True)]
        else:
            wanted = zip(latents, frames, each, strict=True)
            levels = [to_levels(frames_of_clips(generator, latent[None], *how, some, one)) for latent, some, one in wanted]
    return [clip[0].cpu().numpy() for clip in levels]


def walk(
    model: LoadedGenerator,
    frames: int,
    *,
    turns: int = 2,
    count: int = 1,
    seed: int = 0,
    to: int | None = None,
    every: int = 1,
    truncation: float = 1.0,
    precision: Arithmetic = "float32",
    classes: str | Sequence[str] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a smooth walk, uint8 [count, h, w, c] each; the last frame leads back to the first.

    The latents go around a random closed curve, or to another seed's and back, slower at the ends; meanwhile every clip plays forwards and
    backwards, so neither has a jump.
    The playing takes whole periods of 2t - 2 frames, as near to the model's own speed as fits `frames`.

    Args:
        frames: length of the loop, at least 2.
        turns: how far the curve wanders, at least 1; more turns move faster.
        count: walks side by side, each from its own seed (seed, seed + 1, ...).
        to: the seed at which the walk turns back; None for the curve.
        every: a clip is made for every so many frames only, and what lies between two is a mean of both, weighted by how near each is.
        truncation: as of `generate`.
        precision: as of `generate`.
        classes: as of `generate`; a walk stays in the class of its own seed.

    Raises:
        GrowreelError: a number out of range, or classes that the model does not have.
    """
    for name, value, least in (
        ("frames", frames, 2),
        ("turns", turns, 1),
        ("count", count, 1),
        ("seed", seed, 0),
        ("to", to, 0),
        ("every", every, 1),
    ):
        check_range(f"--{name}", value, least=least)
    check_range("--truncation", truncation, least=0)
    knots = range(0, frames, every)
    _announce(model, len(knots) * count, precision)
    latent_dim = model.generator.latent_dim
    starts = range(seed, seed + count)
    numbers = class_numbers(model, starts, classes)
    paths = torch.from_numpy(
        np.stack([_closed_path(k, frames, turns, latent_dim) if to is None else _there_and_back(k, to, frames, latent_dim) for k in starts])
    )[:, ::every]
    period = max(2 * model.size.t - 2, 1)
    periods = max(round(frames / period), 1)

    def inner(frame: int) -> int:
        phase = round(frame * periods * period / frames) % period
        return min(phase, period - phase)

    passed = [[inner(frame % frames) for frame in range(knot - every + 1, knot + every)] for knot in knots]
    some = [range(min(each), max(each) + 1) for each in passed]
    wanted = [each for each in some for _ in starts]
    latents, of_each = paths.transpose(0, 1).flatten(0, 1), None if numbers is None else numbers.repeat(len(knots))
    clips = clips_of_latents(model.generator, model.position, latents, truncation, precision, wanted, of_each)

    def made(number: int) -> dict[int, NDArray[np.uint8]]:
        """Frames [count, h, w, c] of the clips of a knot, by their number in the clip."""
        together = np.stack([next(clips) for _ in starts], axis=1)
        return dict(zip(some[number], together, strict=True))

    before = first = made(0)
    for number, knot in enumerate(knots):
        end = min(knot + every, frames)
        after = made(number + 1) if end < frames else first  # the loop closes where it began
        for frame in range(knot, end):
            share = (frame - knot) / (end - knot)
            yield between(before[inner(frame)], after[inner(frame)], share) if share else before[inner(frame)]
        before = after


def between(before: NDArray[np.uint8], after: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The mean of two pictures, of which the second counts `share`."""
    return np.rint(before * (1 - share) + after.astype(np.float32) * share).astype(np.uint8)


def clips_of_recipe(
    model: LoadedGenerator, recipe: Recipe, while_wanted: Callable[[Iterator[NDArray[np.uint8]]], Iterator[NDArray[np.uint8]]] = iter
) -> Iterable[NDArray[np.uint8]]:
    """The clips, uint8 [t, h, w, c] each, that a recipe says, made with its model; errors as of `at_stage`, `generate` and `walk`.

    `while_wanted` passes on what is made, clips or frames of a walk, and may end it by raising.
    """
    model = at_stage(model, recipe)
    precision = named_arithmetic(recipe.precision, "the recipe's precision", next(model.generator.parameters()).device)
    if recipe.frames is not None:
        check_length(model, recipe.frames)
        return while_wanted(
            lengthened(model, seed, recipe.frames, recipe.truncation, precision, class_number(model, seed, recipe.classes))
            for seed in recipe.seeds
        )
    if recipe.walk is None:
        return while_wanted(stream(model, recipe.seeds, recipe.truncation, precision, recipe.classes))
    path, seeds = recipe.walk, recipe.seeds
    first = seeds[0]
    assert isinstance(first, int)  # no recipe with a walk is read that says otherwise
    frames = walk(
        model,
        path.frames,
        turns=path.turns,
        count=len(seeds),
        seed=first,
        to=path.to,
        every=path.every,
        truncation=recipe.truncation,
        precision=precision,
        classes=recipe.classes,
    )
    return np.stack(list(while_wanted(frames)), axis=1)


def _there_and_back(seed: int, to: int, frames: int, latent_dim: int) -> NDArray[np.float32]:
    """Latents [frames, latent_dim] from a seed's to another's and back along the same arc, at rest at both ends."""
    first, last = latents_of_seeds([seed, to], latent_dim)
    return arc(first, last, (1 - np.cos(2 * np.pi * np.arange(frames) / frames)) / 2)


def _closed_path(seed: int, frames: int, turns: int, latent_dim: int) -> NDArray[np.float32]:
    """Latents [frames, latent_dim] on a closed smooth curve: a random sum of circles that go round 1 to `turns` times.

    The generator sees a latent's direction only, so the curve is followed at a constant angular speed: without that it would rush
    wherever it comes near the origin.
    """
    rng = keyed_rng(Purpose.WALK, seed)
    frequencies = np.arange(1, turns + 1)
    amplitudes = rng.standard_normal((2, turns, latent_dim))
    angles = 2 * np.pi * np.outer(np.linspace(0, 1, 64 * frames + 1), frequencies)
    directions = np.cos(angles) @ amplitudes[0] + np.sin(angles) @ amplitudes[1]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(directions, axis=0), axis=1))])
    nearest = np.searchsorted(way, way[-1] * np.arange(frames) / frames)
    path: NDArray[np.float32] = directions[nearest].astype(np.float32)
    return path


def write_samples(
    path: str | Path,
    clips: Iterable[NDArray[np.uint8]],
    seeds: Sequence[Place],
    *,
    fps: float,
    separate: bool = False,
    scale: int | None = None,
    recipe: Recipe | None = None,
) -> list[Path]:
    """Write clips, uint8 [t, h, w, c] each, to one file or to one file for each seed, and return the paths.

    Pictures are enlarged `scale` times by repeating pixels; None makes small clips about 64 pixels high. One picture file is a grid; one
    `.npy` file is the array [n, t, h, w, c], never enlarged. But for the grid, clips are written as they come and not kept. Each file
    carries the recipe of its own seeds; where that names classes, the grid has the name of each clip's above it.
    Raises GrowreelError as `make_place_for` does, before the first clip is taken.
    """
    path = make_place_for(path)
    is_array = path.suffix.lower() == ".npy"
    if separate:
        paths = [path.with_name(f"{path.stem}-{seed}{path.suffix}") for seed in seeds]
        for one, seed, clip in zip(paths, seeds, clips, strict=True):
            comment = None if recipe is None else recipe.of_seeds((seed,)).to_json()
            write_clip(one, clip if is_array else enlarge(clip[None], scale)[0], fps, comment)
        return paths
    comment = None if recipe is None else recipe.to_json()
    if is_array:
        with writing(path):
            _write_array(path, clips, len(seeds))
            write_beside(path, comment)
    else:
        large = enlarge(np.stack(list(clips)), scale)
        if recipe is not None and recipe.classes:
            large = captioned(large, recipe.class_names())
        write_clip(path, tile_grid(large), fps, comment)
    return [path]


def make_place_for(path: str | Path) -> Path:
    """Make the folder of a file of samples, so that no time is spent on clips that could not be written. Returns the path.

    Raises GrowreelError for a suffix that is not known, and for a folder that cannot be made.
    """
    path = Path(path)
    check_suffix(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
    return path


def _write_array(path: Path, clips: Iterable[NDArray[np.uint8]], count: int) -> None:
    """One array file from clips that never are in memory all together; whole or not there at all."""
    with replacing(path) as file:
        for number, clip in enumerate(clips):
            if number == 0:
                header = {"descr": np.lib.format.dtype_to_descr(clip.dtype), "fortran_order": False, "shape": (count, *clip.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(clip.tobytes())
