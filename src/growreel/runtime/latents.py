"""Places in the latent space that have a name: seeds, and points on the arc between those of two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from growreel.runtime.randomness import latents_of_seeds

PLACE = re.compile(r"(\d{1,20})(?:~(\d{1,20})~(0(?:\.\d{1,4})?|1(?:\.0{1,4})?))?", re.ASCII)


@dataclass(frozen=True)
class Mix:
    """`share` (0 to 1) of the way from one seed to another, in the generator's sense: along the great circle, as it sees directions only.

    Written `7~12~0.25`; a share has four digits.
    """

    seed: int
    other: int
    share: float

    def __str__(self) -> str:
        return f"{self.seed}~{self.other}~{round(self.share, 4):g}"


Place = int | Mix
"""A seed, or a mix of two."""


def parse_place(text: str) -> Place:
    """`7` or `7~12~0.25`. Raises ValueError for anything else."""
    match = PLACE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no seed and no place between two, such as 7 or 7~12~0.25")
    return int(match[1]) if match[2] is None else Mix(int(match[1]), int(match[2]), float(match[3]))


def classes_of_places(places: Sequence[Place], among: Sequence[int]) -> NDArray[np.int64]:
    """Return the class of each place, [n], of the classes `among` that are asked for: seed s has number s modulo how many they are.

    So consecutive seeds take the classes in turn, and the class of a seed does not depend on which other seeds are asked for. A mix has
    that of its first seed.
    """
    return np.array([among[(place.seed if isinstance(place, Mix) else place) % len(among)] for place in places], np.int64)


def latents_of_places(places: Sequence[Place], latent_dim: int) -> NDArray[np.float32]:
    """Latents [n, latent_dim]; row k depends on places[k] alone. A share of 0 or 1 is that seed's own latent, to the bit."""
    return np.stack([_latent(place, latent_dim) for place in places])


def _latent(place: Place, latent_dim: int) -> NDArray[np.float32]:
    if not isinstance(place, Mix):
        return np.asarray(latents_of_seeds([place], latent_dim)[0])
    first, last = latents_of_seeds([place.seed, place.other], latent_dim)
    mixed: NDArray[np.float32] = arc(first, last, np.array([place.share]))[0]
    return mixed


def arc(first: NDArray[np.float32], last: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """Latents [n, latent_dim] at shares [n] of the way from one latent [latent_dim] to another, as long as a latent usually is.

    Equal shares turn the latent by equal angles. The ends are the two latents themselves.
    """
    a, b = (end.astype(np.float64) / np.linalg.norm(end) for end in (first, last))
    angle = np.arccos(np.clip(a @ b, -1, 1))
    if angle < 1e-6:
        return np.repeat(first[None], len(shares), axis=0)
    mixed = (np.sin(np.outer(1 - shares, angle)) * a + np.sin(np.outer(shares, angle)) * b) / np.sin(angle)
    latents: NDArray[np.float32] = (mixed * np.sqrt(len(first))).astype(np.float32)
    latents[shares == 0], latents[shares == 1] = first, last
    return latents
