"""Judging a clip by its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.lettering import letters
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.faces.still import life
from growreel.video.pixels import resize

REACH = 16  # frames in which a dissolve shows
Clip = NDArray[np.uint8]


def measure(clip: Clip) -> dict[str, float]:
    """What can be measured without a threshold, of a clip uint8 [t, h, w, c]; `settings` says what each is."""
    some = clip[[0, len(clip) // 2, -1]]
    grey = _grey(clip, 64).astype(np.float32)
    steps = np.abs(np.diff(grey, axis=0))
    jumps = steps.mean(axis=(1, 2))
    change, monotony = _dissolve(grey, steps)
    return {
        "light": float(np.percentile(_grey(some, 128), 95)),
        "detail": float(np.median([_laplacian(each).var() for each in _grey(some, 128)[:, 32:96, 32:96]])),
        "life": life(grey),
        "jump": float(jumps.max(initial=0)),
        "jump_ratio": float(jumps.max(initial=0) / max(float(np.median(jumps)) if len(jumps) else 0.0, 0.5)),
        "change": change,
        "monotony": monotony,
    }


def judge(clip: Clip, settings: FaceSettings) -> tuple[dict[str, float], str | None]:
    """The scores of a clip, and the first rule that refuses it."""
    scores = measure(clip)
    scores["letters"] = float(letters(_grey(clip[[0, len(clip) // 2, -1]], 128), settings.text_contrast))
    rules = {
        "dark": scores["light"] < settings.min_light,
        "blurred": scores["detail"] < settings.min_detail,
        "cut or flash": scores["jump"] > settings.max_jump and scores["jump_ratio"] > 4,
        "dissolve": scores["change"] > settings.gradual and scores["monotony"] > settings.monotony,
        "still": scores["life"] < settings.min_life,
        "text": scores["letters"] >= settings.text_letters,
    }
    return scores, next((name for name, broken in rules.items() if broken), None)


def hash_of(clip: Clip) -> NDArray[np.bool_]:
    """384 bits of a clip: whether each of 8x8 places of three frames is darker than its neighbours to the right and below (dHash)."""
    small = np.stack([resize(each, 9, 9) for each in _grey(clip[[0, len(clip) // 2, -1]], 128)[..., None]])[..., 0].astype(np.int16)
    return np.concatenate([(small[:, :8, :8] < small[:, :8, 1:]).ravel(), (small[:, :8, :8] < small[:, 1:, :8]).ravel()])


def _grey(frames: Clip, side: int) -> Clip:
    """Grey levels [n, side, side] of frames [n, h, w, c]."""
    weights = np.array([0.299, 0.587, 0.114]) if frames.shape[-1] == 3 else np.ones(1)
    return np.stack([(resize(frame, side, side) @ weights).round().astype(np.uint8) for frame in frames])


def _laplacian(picture: Clip) -> NDArray[np.int16]:
    p = picture.astype(np.int16)
    return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]


def _dissolve(grey: NDArray[np.float32], steps: NDArray[np.float32]) -> tuple[float, float]:
    """Difference over 16 frames (or all, if fewer), and its share of all changes on the way, where the two together are largest."""
    reach = min(REACH, len(grey) - 1)
    if reach < 1:
        return 0.0, 0.0
    change = np.abs(grey[reach:] - grey[:-reach]).mean(axis=(1, 2))
    way = np.stack([steps[first : first + reach].sum(axis=0).mean() for first in range(len(change))])
    monotony = change / np.maximum(way, 1e-3)
    most = int(np.argmax(change * monotony))
    return float(change[most]), float(monotony[most])
