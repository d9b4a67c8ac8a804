"""The first pass over a film: its shots, the tracks of its faces, and the clips that these could give, judged without their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size
from growreel.preparation.faces.area import AreaFinder
from growreel.preparation.faces.detectors import Detector
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.faces.shots import GREY, ShotFinder
from growreel.preparation.faces.steady import Floats, Steady, jitter_of, steady
from growreel.preparation.faces.tracks import Sighting, Track, find_tracks, patch_of
from growreel.video.media import Picture, Shown

OTHER_HEIGHT = 0.4  # of a face's own height, from which another face is a second person


@dataclass
class Candidate:
    """A clip that a track could give.

    Attributes:
        track, shot: their numbers.
        frames: numbers of its frames, ascending.
        boxes: [t, 4] top, left, bottom, right of its window in each, as shares of the frame.
        scores: what was measured, by name.
        rule: why it is refused; None so far.
    """

    track: int
    shot: int
    frames: NDArray[np.int64]
    boxes: Floats
    scores: dict[str, float]
    rule: str | None = None


@dataclass(frozen=True)
class FirstPass:
    """What a film has. `tracks` counts those of at least two looks; `short` are those that are too short for a clip."""

    frames: int
    shots: int
    tracks: int
    candidates: list[Candidate]
    short: list[Candidate] = field(default_factory=list)


def first_pass(
    shown: Iterable[Shown],
    detector: Detector,
    settings: FaceSettings,
    size: Size,
    frame_stride: int,
    clip_stride: int,
    beat: Callable[[], None],
) -> FirstPass:
    """Look through a film. Of each frame a few numbers are kept, so that its length costs no memory to speak of."""
    shots, areas = ShotFinder(settings), AreaFinder(settings.bar_level)
    eyes = _Looker(detector, settings, areas, beat)
    scales = dict[tuple[int, int], float]()  # pixels of the film for one of the looked-at picture, by the latter's shape
    frames = 0
    for frame, each in enumerate(shown):
        frames = frame + 1
        picture = each.picture
        grey = picture.part((0, 0, picture.height, picture.width), *GREY)
        shots.feed(grey.mean(axis=2, dtype=np.float32), each.begins)
        if each.begins:
            eyes.forget()
        if frame % settings.detect_every == 0:
            small = shrunk(picture, settings.detect_side)
            scales[small.shape[:2]] = max(scales.get(small.shape[:2], 0.0), picture.height / small.shape[0])
            eyes.see(frame, small)
    eyes.finish()
    numbers = shots.shots()
    tracks = [each for each in find_tracks(dict(sorted(eyes.looks.items())), numbers, settings) if len(each.sightings) > 1]
    ways = [steady(each, detector.framing, settings.side, settings.smoothing) for each in tracks]
    needed = (size.t - 1) * frame_stride + 1
    passed = FirstPass(frames, len(np.unique(numbers[numbers >= 0])), len(tracks), [])
    for track, way in zip(tracks, ways, strict=True):
        last = track.end - needed
        same_shot = np.flatnonzero(numbers == track.shot)
        area = areas.area(int(same_shot[0]), int(same_shot[-1]) + 1)
        scale = scales[way.shape]
        if last < track.start:
            middle = np.array([(track.start + track.end) // 2])
            scores = {"frames": float(track.end - track.start), **_look_scores(way, track.start, track.end - 1, scale, size)}
            passed.short.append(Candidate(track.number, track.shot, middle, _boxes(way, middle, size), scores, "short"))
        for first in range(track.start, last + 1, clip_stride):
            taken = first + frame_stride * np.arange(size.t)
            others = [other for other in ways if other is not way]
            passed.candidates.append(_candidate(track, way, taken, others, area, scale, size, settings))
    return passed


def shrunk(picture: Picture, longest: int) -> NDArray[np.uint8]:
    """The whole picture with square pixels and its longer side at most `longest`, uint8 [h, w, 3]."""
    h, w = float(picture.height), picture.width * picture.pixel_aspect
    scale = min(1.0, longest / max(h, w))
    return picture.part((0, 0, picture.height, picture.width), max(1, round(h * scale)), max(1, round(w * scale)))


class _Looker:
    """Runs the detector on some frames: on probes, and between two of which one shows a face."""

    def __init__(self, detector: Detector, settings: FaceSettings, areas: AreaFinder, beat: Callable[[], None]) -> None:
        self.looks: dict[int, list[Sighting]] = {}
        self._detector, self._settings, self._areas, self._beat = detector, settings, areas, beat
        self._waiting: list[tuple[int, NDArray[np.uint8]]] = []
        self._count = 0
        self._seen = True  # at the beginning of a run nothing is left out

    def forget(self) -> None:
        """What comes does not follow on what was."""
        self.finish()
        self._count, self._seen = 0, True

    def see(self, frame: int, picture: NDArray[np.uint8]) -> None:
        probes = self._count % self._settings.probe_every == 0
        self._count += 1
        if not probes:
            self._waiting.append((frame, picture))
            return
        self._areas.feed(frame, picture)
        seen = self._look(frame, picture)
        if seen or self._seen:
            self._look_at_waiting()
        self._waiting.clear()
        self._seen = seen

    def finish(self) -> None:
        """The film is over."""
        if self._seen:
            self._look_at_waiting()
        self._waiting.clear()

    def _look_at_waiting(self) -> None:
        for frame, picture in self._waiting:
            self._look(frame, picture)

    def _look(self, frame: int, picture: NDArray[np.uint8]) -> bool:
        self._beat()
        faces = self._detector.find(picture, self._settings.min_score)
        self.looks[frame] = [Sighting(frame, face, picture.shape[:2], patch_of(picture, face)) for face in faces]
        return bool(faces)


def _candidate(
    track: Track,
    way: Steady,
    frames: NDArray[np.int64],
    others: Sequence[Steady],
    area: tuple[float, float, float, float],
    scale: float,
    size: Size,
    settings: FaceSettings,
) -> Candidate:
    """A clip of these frames, measured, and refused by the first rule that it breaks."""
    first, last = int(frames[0]), int(frames[-1])
    windows = way.windows[first - way.start : last + 1 - way.start]
    boxes = _boxes(way, frames, size)
    outside = _outside(boxes, area)
    scores = _look_scores(way, first, last, scale, size) | {
        "outside": float(outside.max()),
        "jitter": jitter_of(windows),
        "speed": float((np.abs(np.diff(windows, axis=0)).max(axis=0) / windows[:, 2].mean()).max()) if len(windows) > 1 else 0.0,
        "second_face": max((_inside(other, way, frames) for other in others), default=0.0),
    }
    rules = {
        "small": scores["sharpness"] < settings.min_sharpness,
        "border": scores["outside"] > settings.max_outside,
        "two faces": scores["second_face"] > settings.second_face,
        "turned away": scores.get("eyes", 1.0) < settings.min_eyes,
        "tilted": abs(scores.get("roll", 0.0)) > settings.max_roll,
        "fast": scores["speed"] > settings.max_speed,
        "unsteady": scores["jitter"] > settings.max_jitter,
        "off centre": scores["off_center"] > settings.max_off_center,
    }
    rule = next((name for name, broken in rules.items() if broken), None)
    return Candidate(track.number, track.shot, frames, boxes if rule else _moved_inside(boxes, area), scores, rule)


def _look_scores(way: Steady, first: int, last: int, scale: float, size: Size) -> dict[str, float]:
    """What the looks at the frames first to last say."""
    at = way.at(first, last)
    windows = way.windows[way.looks[at] - way.start]
    off = np.abs(way.seen[at] - windows)[:, :2].max(axis=1) / windows[:, 2]
    scores: dict[str, Any] = {
        "face_pixels": np.median(way.heights[at]) * scale,
        "sharpness": np.median(windows[:, 2]) * scale / size.h,
        "score": way.scores[at].min(),
        "off_center": np.percentile(off, 95),
    }
    eyes = way.eyes[at]
    if not np.isnan(eyes).any():
        scores |= {"eyes": np.percentile(eyes[:, 0], 10), "roll": np.median(eyes[:, 1])}
    return {name: float(value) for name, value in scores.items()}


def _boxes(way: Steady, frames: NDArray[np.int64], size: Size) -> Floats:
    """[t, 4] the windows of these frames as shares of the frame; as much wider than high as the clips are."""
    y, x, side = way.windows[frames - way.start].T
    h, w = way.shape
    wide = side * size.w / size.h
    return np.stack([(y - side / 2) / h, (x - wide / 2) / w, (y + side / 2) / h, (x + wide / 2) / w], axis=1)


def _outside(boxes: Floats, area: tuple[float, float, float, float]) -> Floats:
    """[t] the share of its extent by which each window stands out of the picture area, on the side where it is most."""
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    over = [(area[0] - boxes[:, 0]) / tall, (area[1] - boxes[:, 1]) / wide, (boxes[:, 2] - area[2]) / tall, (boxes[:, 3] - area[3]) / wide]
    most: Floats = np.maximum(0.0, np.max(over, axis=0))
    return most


def _moved_inside(boxes: Floats, area: tuple[float, float, float, float]) -> Floats:
    """Windows that stand out by little, moved into the picture area; what is larger than it stays as it is there."""
    moved = boxes.copy()
    for low, high in ((0, 2), (1, 3)):
        shift = np.maximum(0.0, area[low] - moved[:, low])
        shift -= np.where(shift > 0, 0.0, np.maximum(0.0, moved[:, high] - area[high]))
        moved[:, [low, high]] += shift[:, None]
    return moved


def _inside(other: Steady, way: Steady, frames: NDArray[np.int64]) -> float:
    """The largest share of another track's faces that is in the windows of these frames, or of a window that they take.

    0 for faces that are small beside it.
    """
    common = frames[(frames >= other.start) & (frames < other.start + len(other.windows))]
    if not common.size:
        return 0.0
    y, x, side = way.windows[common - way.start].T
    oy, ox, oside = other.windows[common - other.start].T
    if np.median(oside / side) < OTHER_HEIGHT:
        return 0.0
    half, ohalf = side / 2, oside * 0.4  # a face is narrower than its window
    tall = np.clip(np.minimum(y + half, oy + ohalf) - np.maximum(y - half, oy - ohalf), 0, None)
    wide = np.clip(np.minimum(x + half, ox + ohalf) - np.maximum(x - half, ox - ohalf), 0, None)
    return float((tall * wide / np.minimum(2 * ohalf, side) ** 2).max())
