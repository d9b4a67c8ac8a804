"""Judging a clip by its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.lettering import letters
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.faces.shots import REACH, Change, change_over
from growreel.preparation.faces.still import life
from growreel.video.pixels import resize

Clip = NDArray[np.uint8]


def measure(clip: Clip, settings: FaceSettings) -> dict[str, float]:
    """What is measured of a clip, uint8 [t, h, w, c]; `settings` says what each is."""
    some = clip[[0, len(clip) // 2, -1]]
    grey = _grey(clip, 64).astype(np.float32)
    steps = np.abs(np.diff(grey, axis=0))
    jumps = steps.mean(axis=(1, 2))
    change = _gradual(grey, steps, settings)
    side = min(128, clip.shape[1])
    middle = _grey(some, side)[:, side // 4 : side - side // 4, side // 4 : side - side // 4]
    return {
        "light": float(np.percentile(_grey(some, 128), 95)),
        "detail": float(np.median([_laplacian(each).var() for each in middle])),
        "life": life(grey),
        "jump": float(jumps.max(initial=0)),
        "jump_ratio": float(jumps.max(initial=0) / max(float(np.median(jumps)) if len(jumps) else 0.0, 0.5)),
        "change": change.size,
        "monotony": change.monotony,
        "blend": change.blend,
        "letters": float(letters(_grey(some, 128), settings.text_contrast)),
    }


def judge(clip: Clip, settings: FaceSettings) -> tuple[dict[str, float], str | None]:
    """The scores of a clip, and the first rule that refuses it."""
    scores = measure(clip, settings)
    rules = {
        "dark": scores["light"] < settings.min_light,
        "blurred": scores["detail"] < settings.min_detail,
        "cut or flash": scores["jump"] > settings.max_jump and scores["jump_ratio"] > 4,
        "dissolve": Change(scores["change"], scores["monotony"], scores["blend"]).is_gradual(settings),
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


def _gradual(grey: NDArray[np.float32], steps: NDArray[np.float32], settings: FaceSettings) -> Change:
    """The change over 16 frames (or all, if fewer) that is most like a dissolve."""
    reach = min(REACH, len(grey) - 1)
    if reach < 4:
        return Change(0.0, 0.0, 1.0)
    changes = [
        change_over(list(grey[first : first + reach + 1]), _path(steps[first : first + reach])) for first in range(len(grey) - reach)
    ]
    return min(changes, key=lambda each: (not each.is_gradual(settings), each.blend))


def _path(steps: NDArray[np.float32]) -> float:
    return float(steps.sum(axis=0).mean())
