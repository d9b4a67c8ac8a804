"""All randomness of training and sampling: numpy generators that are a function of a key, never of what was drawn before.

Numbers are drawn on the CPU, so that a run has the same noise on every device and resuming needs no generator state.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """First part of a key. Two purposes never share a stream; the numbers are part of what a seed means, so they stay."""

    ORDER = 1
    MIRROR = 2
    DISCRIMINATOR_NOISE = 3
    GENERATOR_NOISE = 4
    SAMPLE = 5
    WALK = 6
    EVALUATION = 7
    AUGMENTATION = 8
    CONTINUATION = 9


def keyed_rng(purpose: Purpose, *key: int) -> np.random.Generator:
    """Generator for a purpose and a key of non-negative integers, e.g. (seed, clips shown)."""
    return np.random.default_rng([int(purpose), *key])


def latents_of_seeds(seeds: Sequence[int], latent_dim: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Standard normal latents [n, latent_dim]; row k depends on seeds[k] alone."""
    return np.stack([keyed_rng(Purpose.SAMPLE, seed).standard_normal(latent_dim, dtype=np.float32) for seed in seeds])
