"""A trailer mixed from real videos, in which every cut and every face is known: what --crop faces makes of it.

    python benchmarks/faces_mixed.py FOLDER... [--shots 60] [--seed 0] [--detector centerface]

Shots of videos drawn by chance, half of them from the folder of the shot before, where faces lie alike, follow one another by hard cuts
(two of three), dissolves of 8 to 24 frames and fades through black. Says which of these were found, how many tracks see two
videos (identity switches), and how many clips that were kept hold frames of two, or of a dissolve or a fade (impure).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from growreel.growth import Size
from growreel.preparation.cutting import fit_picture
from growreel.preparation.faces.settings import FaceSettings
from growreel.preparation.faces.shots import GREY, ShotFinder
from growreel.preparation.prepare import prepare
from growreel.video.archives import MediaFile
from growreel.video.media import Findings, StillPicture
from growreel.video.reading import read_pictures

HEIGHT, WIDTH = 360, 640
SOFT = {"dissolve", "fade"}
Frames = NDArray[np.uint8]


class Part(NamedTuple):
    """A part of the trailer: a video's name for a shot, or else `dissolve` or `fade`; its first and last frame."""

    kind: str
    first: int
    last: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--shots", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--keep", type=Path, help="where to leave trailer and store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        (folder / "trailer").mkdir(parents=True, exist_ok=True)
        film = folder / "trailer" / "trailer.mp4"
        parts = mix(options.folders, film, options.shots, options.seed)
        report = prepare(
            folder / "trailer",
            folder / "store",
            Size(32, 128, 128),
            crop="faces",
            faces=FaceSettings(detector=options.detector),
            overwrite=True,
            workers=1,
        )
        print(report.table())
        print(json.dumps(compare(film, folder / "store" / "faces.jsonl", parts)))


def mix(folders: list[Path], path: Path, shots: int, seed: int) -> list[Part]:
    """Write the trailer; return its parts in order."""
    rng = np.random.default_rng(seed)
    videos = [sorted(each for each in folder.iterdir() if each.suffix in (".mp4", ".mkv", ".mpg")) for folder in folders]
    parts, group, video = list[Part](), 0, Path()
    last: Frames | None = None  # frames of the shot before that the transition takes
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "18"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"

        def write(frames: Frames, kind: str) -> None:
            first = parts[-1].last + 1 if parts else 0
            parts.append(Part(kind, first, first + len(frames) - 1))
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

        for _ in range(shots):
            if rng.random() < 0.5:
                group = int(rng.integers(len(videos)))
            others = [each for each in videos[group] if each != video]
            video = others[int(rng.integers(len(others)))]
            frames = stretch(video, rng)
            if last is not None and len(last):
                count = len(last)
                weight = np.linspace(0, 1, count + 2)[1:-1, None, None, None]
                if rng.random() < 0.6:
                    write((last * (1 - weight) + frames[:count] * weight).astype(np.uint8), "dissolve")
                else:
                    write((last * (1 - weight)).astype(np.uint8), "fade")
                    write((frames[:count] * weight).astype(np.uint8), "fade")
                frames = frames[count:]
            tail = int(rng.integers(8, 25)) if rng.random() < 1 / 3 else 0
            write(frames[: len(frames) - tail], video.name)
            last = frames[len(frames) - tail :]
        container.mux(stream.encode())
    return parts


def stretch(video: Path, rng: np.random.Generator) -> Frames:
    """Some frames in a row of a video, [t, 360, 640, 3]."""
    frames = [each.picture.pixels() for each in read_pictures(MediaFile(video), colors=3, findings=Findings())]
    count = min(len(frames), int(rng.integers(48, 110)))
    first = int(rng.integers(len(frames) - count + 1))
    return np.stack([fit_picture(StillPicture(frame), HEIGHT, WIDTH, "pad") for frame in frames[first : first + count]])


def compare(film: Path, manifest: Path, parts: list[Part]) -> dict[str, object]:
    """Figures of what was found against what is known."""
    shots = shots_of(film)
    cuts = [b.first for a, b in pairwise(parts) if not {a.kind, b.kind} & SOFT]
    soft = [part for part in parts if part.kind in SOFT]
    begun = np.flatnonzero((shots[1:] != shots[:-1]) & (shots[1:] >= 0) & (shots[:-1] >= 0)) + 1
    false = [int(frame) for frame in begun if all(abs(frame - cut) > 1 for cut in cuts)]
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    tracks: dict[int, set[str]] = {}
    impure, kept = 0, 0
    for line in (each for each in lines if each["kind"] != "source"):
        seen = {part.kind for part in parts if part.first <= line["last"] and part.last >= line["frame"]}
        tracks.setdefault(line["track"], set()).update(seen - SOFT)
        if line["kind"] == "clip":
            kept += 1
            impure += len(seen) > 1
    return {
        "cuts": f"{sum(cut in begun for cut in cuts)} of {len(cuts)}",
        "dissolves": f"{sum(bool((shots[p.first : p.last + 1] < 0).any()) for p in soft if p.kind == 'dissolve')} of "
        f"{sum(p.kind == 'dissolve' for p in soft)}",
        "fades": f"{sum(bool((shots[p.first : p.last + 1] < 0).any()) for p in soft if p.kind == 'fade')} of "
        f"{sum(p.kind == 'fade' for p in soft)}",
        "false cuts": len(false),
        "frames of shots taken for dissolves": int(sum((shots[p.first + 3 : p.last - 2] < 0).sum() for p in parts if p.kind not in SOFT)),
        "tracks with two videos": sum(len(each) > 1 for each in tracks.values()),
        "clips": kept,
        "impure": impure,
    }


def shots_of(film: Path) -> NDArray[np.int64]:
    """Number of the shot of each frame, as `prepare` finds it."""
    finder = ShotFinder(FaceSettings())
    for each in read_pictures(MediaFile(film), colors=3, findings=Findings()):
        grey = each.picture.part((0, 0, each.picture.height, each.picture.width), *GREY)
        finder.feed(grey.mean(axis=2, dtype=np.float32), each.begins)
    return finder.shots()


if __name__ == "__main__":
    main()
