"""One film into clips of faces: a first pass that finds them, a second one that cuts them out and judges them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size
from growreel.preparation.faces.candidates import Candidate, FirstPass, first_pass
from growreel.preparation.faces.cropping import crop
from growreel.preparation.faces.detectors import Detector, open_detector
from growreel.preparation.faces.filters import hash_of, judge
from growreel.preparation.faces.manifest import entry_of, thumbnail
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.report import SourceRow
from growreel.video.media import Colors, Findings, Frame, Shown

Emit = Callable[[str, int, NDArray[np.uint8]], None]
Pictures = Callable[[Colors, Findings], Iterator[Shown]]
KEPT_THUMBNAILS = 4  # of the clips of a film; of what each rule refuses there is one


@dataclass(frozen=True)
class FaceCut:
    """How clips of faces are cut: what `prepare` was told about clips, and the settings of faces."""

    size: Size
    frame_stride: int
    clip_stride: int
    colors: Colors
    max_clips: int | None
    fps: float | None
    settings: FaceSettings


@functools.cache
def _detector(name: str) -> Detector:
    """One for all films of a process."""
    return open_detector(name)


def convert_faces(name: str, pictures: Pictures, cut: FaceCut, emit: Emit, beat: Callable[[], None]) -> SourceRow:
    """Cut the faces of one film; return its row.

    Args:
        name: of the film.
        pictures: gives its frames in given colours, from the beginning, as often as it is called; never raises.
        cut: how.
        emit: takes name, number of the first frame, and the clip, uint8 [t, h, w, c], in the order in which clips end.
        beat: called often: a sign of life.
    """
    findings = Findings(alive=beat)
    found = first_pass(
        pictures(3, findings), _detector(cut.settings.detector), cut.settings, cut.size, cut.frame_stride, cut.clip_stride, beat
    )
    result = _Result(found)
    wanted = _Wanted([*found.candidates, *found.short], cut)
    if wanted.rest:
        for candidate, frames in wanted.cut_out(pictures(cut.colors, Findings(alive=beat))):
            clip = None if candidate.rule else np.stack(frames)
            if clip is not None:
                scores, candidate.rule = judge(clip, cut.settings)
                candidate.scores |= scores
                if candidate.rule is None and result.seen_before(clip, candidate, cut.settings.same):
                    candidate.rule = "repeated"
            result.take(candidate, frames)
            if clip is not None and candidate.rule is None:
                emit(name, int(candidate.frames[0]), clip)
                if result.clips == cut.max_clips:
                    break
    return _row(name, result, cut, findings)


class _Wanted:
    """What is to be cut out of a film, by the frames in which it begins."""

    def __init__(self, candidates: Iterable[Candidate], cut: FaceCut) -> None:
        self._size = cut.size
        self.rest = sorted(candidates, key=lambda each: (_cut_frames(each)[0], each.track))

    def cut_out(self, shown: Iterable[Shown]) -> Iterator[tuple[Candidate, list[Frame]]]:
        """Yield each with its frames [h, w, c], all of them or the middle one of what is refused already, when its last has come."""
        waiting, growing = self.rest[::-1], list[tuple[Candidate, list[Frame]]]()
        for frame, each in enumerate(shown):
            while waiting and _cut_frames(waiting[-1])[0] == frame:
                growing.append((waiting.pop(), []))
            if not growing and not waiting:
                return
            cropped: dict[tuple[int, bool], Frame] = {}  # clips of a track that overlap share their windows, if they were not moved
            for candidate, frames in growing:
                wanted = _cut_frames(candidate)
                if frame != wanted[len(frames)]:
                    continue
                key = (candidate.track, candidate.rule is None)
                if key not in cropped:
                    box = candidate.boxes[int(np.searchsorted(candidate.frames, frame))]
                    cropped[key] = crop(each.picture, box, self._size.h, self._size.w)
                frames.append(cropped[key])
            done = [pair for pair in growing if len(pair[1]) == len(_cut_frames(pair[0]))]
            growing = [pair for pair in growing if len(pair[1]) < len(_cut_frames(pair[0]))]
            yield from done


def _cut_frames(candidate: Candidate) -> list[int]:
    """The frames that are cut out: of what is refused already, the middle one is enough to look at."""
    frames: list[int] = candidate.frames.tolist()
    return frames if candidate.rule is None else frames[len(frames) // 2 : len(frames) // 2 + 1]


@dataclass
class _Result:
    """What has become of a film so far."""

    found: FirstPass
    clips: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    entries: list[dict[str, Any]] = field(default_factory=list)
    thumbnails: list[dict[str, Any]] = field(default_factory=list)
    _hashes: list[tuple[int, NDArray[np.bool_]]] = field(default_factory=list)

    def seen_before(self, clip: NDArray[np.uint8], candidate: Candidate, same: float) -> bool:
        """Whether another track of this film gave this clip already. Clips of one track may be alike: a face that speaks."""
        bits = hash_of(clip)
        nearest = min((float((bits != other).mean()) for track, other in self._hashes if track != candidate.track), default=1.0)
        candidate.scores["repeats"] = nearest
        if nearest <= same:
            return True
        self._hashes.append((candidate.track, bits))
        return False

    def take(self, candidate: Candidate, frames: list[Frame]) -> None:
        """Note a candidate that is judged, with a small picture of it if there is none of its kind yet."""
        if candidate.rule is None:
            self.clips += 1
        else:
            self.refused[candidate.rule] += 1
        self.entries.append(entry_of(candidate))
        shown_so_far = sum(each["rule"] == candidate.rule for each in self.thumbnails)
        if shown_so_far < (KEPT_THUMBNAILS if candidate.rule is None else 1):
            self.thumbnails.append(
                {"rule": candidate.rule, "frame": int(candidate.frames[0]), "track": candidate.track, "jpeg": thumbnail(frames)}
            )


def _row(name: str, result: _Result, cut: FaceCut, findings: Findings) -> SourceRow:
    rate = None if findings.timeless else cut.fps or findings.fps()
    found = result.found
    facts = {
        "frames": found.frames,
        "shots": found.shots,
        "tracks": found.tracks,
        "clips": result.clips,
        "refused": dict(sorted(result.refused.items())),
        "entries": result.entries,
        "thumbnails": result.thumbnails,
    }
    notes = list(findings.notes)
    unread = findings.damaged and not found.frames
    if not result.clips and not unread:
        refused = ", ".join(f"{rule} {count}" for rule, count in sorted(result.refused.items()))
        notes.insert(0, f"no clip of a face: {found.tracks} tracks" + (f"; refused: {refused}" if refused else ""))
    status: Literal["used", "skipped", "ignored"] = "used" if result.clips else "skipped" if unread else "ignored"
    fps = rate / cut.frame_stride if rate else None
    return SourceRow(name, status, result.clips, found.frames, fps, "; ".join(notes), findings.damaged, facts)
