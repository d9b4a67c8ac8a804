"""An endless walk through the latent space, frame by frame, as fast as the machine makes it.

The way is a function of the seed and the number of the frame alone, so a client asks for any frames in any order and nothing is kept for
it: latents on a cubic B-spline over those of seeds `seed`, `seed + 1`, ..., smooth in its second derivative too, with one seed every
`STATION` frames. Clips are made at knots of the way, `step` frames apart; a frame between two knots is the mean of theirs, weighted by how
near it is. With `step` 1 every frame has a clip of its own, of which nothing but that frame is made. Meanwhile the clip's own time runs
forwards and backwards.
"""

from __future__ import annotations

from http import HTTPStatus

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.models.files import LoadedGenerator
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import between, classes_of_seeds, clips_of_latents
from growreel.view.playing import MOST_SEED, MOST_STEP, View, number
from growreel.view.server import Asked, Reply
from growreel.view.studio import Studio
from growreel.view.subject import Subject

STATION = 64
MOST_FRAMES = 32
RATE = 25.0
"""Frames a second at which the way is walked; what a clip shows runs at the model's own rate."""


def way(seed: int, frames: NDArray[np.float64], latent_dim: int) -> NDArray[np.float32]:
    """Latents [n, latent_dim] at frames [n] of the walk from `seed`."""
    stations = np.floor(frames / STATION).astype(int)
    first, last = int(stations.min()), int(stations.max()) + 3
    latents = latents_of_seeds(range(seed + first, seed + last + 1), latent_dim).astype(np.float64)
    u = (frames / STATION - stations)[:, None]
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    points = sum(weight * latents[stations - first + k] for k, weight in enumerate(weights))
    normed: NDArray[np.float64] = points / np.linalg.norm(points, axis=1, keepdims=True) * np.sqrt(latent_dim)
    return normed.astype(np.float32)


Knots = dict[int, dict[int, NDArray[np.uint8]]]
"""Frames [h, w, c] of clips: by the number of their knot, and their own number in its clip."""


def walk_frames(
    model: LoadedGenerator,
    seed: int,
    start: int,
    count: int,
    step: int,
    truncation: float = 1.0,
    knots: Knots | None = None,
    wanted: tuple[str, ...] | None = None,
) -> NDArray[np.uint8]:
    """Frames start to start + count - 1 of the walk, uint8 [count, h, w, c].

    `knots` are those that are known; those that are made are added. The whole walk of a conditional model is of one class, that of `seed`
    among those `wanted`. Of a clip only those frames are made that the walk passes by.
    """
    known = {} if knots is None else knots
    frames = np.arange(start, start + count)
    needed = sorted({*(frames // step).tolist(), *(-(-frames // step)).tolist()})
    missing = [knot for knot in needed if knot not in known]
    if missing:
        latents = torch.from_numpy(way(seed, np.array(missing, np.float64) * step, model.generator.latent_dim))
        shown = [range(max((knot - 1) * step + 1, 0), (knot + 1) * step) for knot in missing]
        inner = [[_inner(frame, model) for frame in each] for each in shown]
        some = [range(min(each), max(each) + 1) for each in inner]
        of_seed = classes_of_seeds(model, [seed], wanted)
        classes = None if of_seed is None else of_seed.repeat(len(missing))
        clips = clips_of_latents(model.generator, model.position, latents, truncation, frames=some, classes=classes)
        known.update({knot: dict(zip(each, clip, strict=True)) for knot, each, clip in zip(missing, some, clips, strict=True)})
    pictures = []
    for frame in frames.tolist():
        share, inner_frame = frame % step / step, _inner(frame, model)
        before = known[frame // step][inner_frame]
        pictures.append(between(before, known[frame // step + 1][inner_frame], share) if share else before)
    return np.stack(pictures)


def _inner(frame: int, model: LoadedGenerator) -> int:
    """Which frame of its clip the walk shows: the clip's own time runs forwards and backwards, at the model's rate."""
    period = max(2 * model.size.t - 2, 1)
    place = round(frame * model.fps / RATE) % period
    return min(place, period - place)


class Walks:
    """Answers requests for frames. The knots of the latest walk are kept for the next request of the same."""

    def __init__(self, subject: Subject, studio: Studio) -> None:
        self._subject, self._studio = subject, studio
        self._key: object = None
        self._knots: Knots = {}

    def reply(self, asked: Asked) -> Reply:
        """Frames `start` to `start + count - 1` as raw bytes [count, h, w, c]; a header says the shape."""
        view, values = View.of(self._subject, asked.values), asked.values
        seed, start = int(number(values, "seed", 0, 0, MOST_SEED - 10**10)), int(number(values, "start", 0, 0, 10**9))
        count, step = int(number(values, "count", 16, 1, MOST_FRAMES)), int(number(values, "step", 1, 1, MOST_STEP))

        def make() -> bytes:
            if self._key != (view.key(), seed, step):
                self._key, self._knots = (view.key(), seed, step), {}
            model = view.loaded(self._studio)
            frames = walk_frames(model, seed, start, count, step, view.truncation, self._knots, view.wanted)
            for knot in [knot for knot in self._knots if not start // step <= knot <= -(-(start + count) // step)]:
                del self._knots[knot]
            return np.array(frames.shape, "<u4").tobytes() + frames.tobytes()

        body = self._studio.get(("walk", view.key(), seed, start, count, step), make, asked.is_wanted, keep=False)
        return Reply(body, "application/octet-stream", headers={"Cache-Control": "no-store"}, status=HTTPStatus.OK)
