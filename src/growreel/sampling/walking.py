"""A smooth walk through the latent space that ends where it began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.models.files import LoadedGenerator
from growreel.ranges import check_range
from growreel.runtime.latents import arc
from growreel.runtime.precision import Arithmetic
from growreel.runtime.randomness import Purpose, keyed_rng, latents_of_seeds
from growreel.sampling.clips import announce, classes_of_seeds, clips_of_latents


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
    announce(model, len(knots) * count, precision)
    latent_dim = model.generator.latent_dim
    starts = range(seed, seed + count)
    numbers = classes_of_seeds(model, starts, classes)
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
