"""New clips from a model, by seeds or latents: each is computed alone, so its pixels depend on nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from growreel.errors import GrowreelError
from growreel.growth import Position
from growreel.models.files import LoadedGenerator
from growreel.models.generator import Generator
from growreel.models.levels import to_levels
from growreel.models.window import frames_of_clips
from growreel.ranges import check_range
from growreel.runtime.latents import Mix, Place, classes_of_places, latents_of_places
from growreel.runtime.precision import Arithmetic, named_arithmetic, use_arithmetic
from growreel.runtime.randomness import latents_of_seeds

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
    numbers = classes_of_seeds(model, seeds, classes)
    announce(model, len(seeds), precision)
    latents = torch.from_numpy(latents_of_places(seeds, model.generator.latent_dim))
    return clips_of_latents(model.generator, model.position, latents, truncation, precision, classes=numbers)


def classes_of_seeds(model: LoadedGenerator, places: Sequence[Place], wanted: str | Sequence[str] | None) -> Tensor | None:
    """Return the class of each seed, [n] int64, of those that are wanted; None for a model without. Errors as of `chosen_classes`."""
    names = model.chosen_classes(wanted)
    return None if names is None else torch.from_numpy(classes_of_places(places, [model.classes.index(name) for name in names]))


def class_of_seed(model: LoadedGenerator, place: Place, wanted: str | Sequence[str] | None) -> int | None:
    """Return the class of one seed as `classes_of_seeds` does."""
    numbers = classes_of_seeds(model, [place], wanted)
    return None if numbers is None else int(numbers)


def announce(model: LoadedGenerator, clips: int, precision: str) -> None:
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
