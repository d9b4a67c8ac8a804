"""Faces that are one person's, from look to look: own tracks, because general trackers bridge cuts (docs/faces.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from growreel.preparation.faces.detectors import Face, overlap
from growreel.preparation.faces.settings import FaceSettings

PATCH = 16  # rows and columns of the grey picture of a face by which it is known again


@dataclass(frozen=True)
class Sighting:
    """A face at one look.

    Attributes:
        frame: number of the frame, from 0.
        face: in pixels of the picture that the detector saw.
        shape: height and width of that picture.
        patch: grey levels [16, 16] of its box, without mean and of length 1.
    """

    frame: int
    face: Face
    shape: tuple[int, int]
    patch: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass
class Track:
    """The sightings of one person in one shot, in ascending order. `number` counts the tracks of a film from 0."""

    number: int
    shot: int
    sightings: list[Sighting]

    @property
    def start(self) -> int:
        """Number of the first frame."""
        return self.sightings[0].frame

    @property
    def end(self) -> int:
        """Number behind the last frame."""
        return self.sightings[-1].frame + 1


def patch_of(picture: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
    """The patch of a face in a picture [h, w, 3]; zeros where it lies outside or is flat."""
    rows = np.clip(face.top + (np.arange(PATCH) + 0.5) * face.height / PATCH, 0, picture.shape[0] - 1).astype(int)
    columns = np.clip(face.left + (np.arange(PATCH) + 0.5) * face.width / PATCH, 0, picture.shape[1] - 1).astype(int)
    grey = picture[rows[:, None], columns].mean(axis=2, dtype=np.float32)
    grey -= grey.mean()
    patch: NDArray[np.float32] = grey / max(float(np.linalg.norm(grey)), 1.0)
    return patch


def find_tracks(looks: Mapping[int, Sequence[Sighting]], shots: NDArray[np.int64], settings: FaceSettings) -> list[Track]:
    """Join sightings to tracks, each within one shot.

    A sighting goes to the track whose expected box (moved on as before) it overlaps most, if size and grey levels fit as well; each goes
    to one track only. A track that misses more than `max_gap` looks is over.

    Args:
        looks: what was seen in each frame that was looked at, in ascending order of frames.
        shots: number of the shot of each frame, -1 for none.
        settings: thresholds.
    """
    tracks, open_tracks = list[Track](), list[Track]()
    step = settings.detect_every
    for frame, sightings in looks.items():
        shot = int(shots[frame])
        oldest = frame - step * (settings.max_gap + 1)
        open_tracks = [each for each in open_tracks if each.shot == shot and each.end - 1 >= oldest]
        if shot < 0:
            continue
        pairs = [
            (-_fit(track, sighting, settings), place, number)
            for place, track in enumerate(open_tracks)
            for number, sighting in enumerate(sightings)
        ]
        taken, continued = set[int](), set[int]()
        for fit, place, number in sorted(pairs):
            if fit < 0 and place not in continued and number not in taken:
                open_tracks[place].sightings.append(sightings[number])
                continued.add(place)
                taken.add(number)
        for number, sighting in enumerate(sightings):
            if number not in taken:
                open_tracks.append(Track(len(tracks), shot, [sighting]))
                tracks.append(open_tracks[-1])
    return tracks


def _fit(track: Track, sighting: Sighting, settings: FaceSettings) -> float:
    """Overlap of a sighting with where a track expects its face; 0 if it is not that face."""
    last = track.sightings[-1]
    growth = sighting.face.height / last.face.height
    if not 1 / settings.max_growth <= growth <= settings.max_growth:
        return 0.0
    common = max(overlap(last.face, sighting.face), overlap(_expected(track, sighting.frame), sighting.face))
    if common < settings.min_overlap or float((last.patch * sighting.patch).sum()) < settings.min_likeness:
        return 0.0
    return common


def _expected(track: Track, frame: int) -> Face:
    """The last face, moved on with the velocity between the last two sightings."""
    last = track.sightings[-1]
    if len(track.sightings) < 2:
        return last.face
    before = track.sightings[-2]
    ahead = (frame - last.frame) / (last.frame - before.frame)
    dx = last.face.left + last.face.width / 2 - before.face.left - before.face.width / 2
    dy = last.face.top + last.face.height / 2 - before.face.top - before.face.height / 2
    return last.face._replace(left=last.face.left + dx * ahead, top=last.face.top + dy * ahead)
