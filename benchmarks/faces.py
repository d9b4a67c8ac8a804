"""Looking at clips of faces with a detector: where eyes, mouth and box lie, and how many are framed as a pattern is.

    python benchmarks/faces.py STORE [--detector dlib] [--like PATTERN]

STORE and PATTERN are clip stores. Three frames of each clip are looked at. A clip is centred if in each of them a face is found whose box
has its centre within a tenth of the side of where the boxes of PATTERN have theirs (their median), and a height between 0.75 and 1.33 times
theirs. docs/faces.md has the results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from growreel.data.store import ClipStore
from growreel.preparation.faces.detectors import Detector, Face, open_detector

NEAR, TALLER = 0.1, 4 / 3
BORDER = 0.25  # of the side that is added around a clip before it is looked at: boxes may stand out of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--detector", default="centerface")
    parser.add_argument("--like", type=Path)
    options = parser.parse_args()
    detector = open_detector(options.detector)
    faces = faces_of(options.store, detector)
    print(json.dumps({"detector": options.detector, "clips": len(faces), **quantiles(faces)}))
    if options.like is not None:
        pattern = boxes_of(faces_of(options.like, detector))
        print(json.dumps(share_centred(faces, pattern)))


def faces_of(path: Path, detector: Detector) -> list[list[Face | None]]:
    """The largest face in the first, middle and last frame of each clip of a store, in shares of the side."""
    found = list[list[Face | None]]()
    with ClipStore.open(path) as store:
        for number in range(len(store)):
            clip = store.read([number], store.size)[0]
            found.append([largest(clip[place], detector) for place in (0, len(clip) // 2, -1)])
    return found


def largest(frame: NDArray[np.uint8], detector: Detector) -> Face | None:
    """The largest face in a frame [h, h, 3], in shares of its side."""
    side = frame.shape[0]
    border = round(BORDER * side)
    padded = np.pad(frame, ((border, border), (border, border), (0, 0)), mode="edge")
    faces = detector.find(padded, 0.5)
    if not faces:
        return None
    best = max(faces, key=lambda face: face.height)
    eyes = None if best.eyes is None else tuple((each - border) / side for each in best.eyes)
    mouth = None if best.mouth is None else tuple((each - border) / side for each in best.mouth)
    box = ((best.left - border) / side, (best.top - border) / side, best.width / side, best.height / side)
    return Face(*box, best.score, eyes, mouth)


def boxes_of(faces: list[list[Face | None]]) -> NDArray[np.float64]:
    """[n, 3] centre y, centre x and height of all faces."""
    return np.array([(f.top + f.height / 2, f.left + f.width / 2, f.height) for each in faces for f in each if f is not None])


def quantiles(faces: list[list[Face | None]]) -> dict[str, object]:
    """5 %, median and 95 % of where things lie, in shares of the side, and the share of frames with a face."""
    found = [face for each in faces for face in each if face is not None]
    values = {
        "center_y": [face.top + face.height / 2 for face in found],
        "center_x": [face.left + face.width / 2 for face in found],
        "box_width": [face.width for face in found],
        "box_height": [face.height for face in found],
    }
    if found and found[0].eyes is not None:
        values |= {
            "eyes_y": [(face.eyes[1] + face.eyes[3]) / 2 for face in found if face.eyes],
            "mouth_y": [face.mouth[1] for face in found if face.mouth],
            "eye_distance": [face.eyes[2] - face.eyes[0] for face in found if face.eyes],
        }
    shown = {name: np.percentile(each, [5, 50, 95]).round(3).tolist() for name, each in values.items()}
    return {"found": round(len(found) / max(1, sum(map(len, faces))), 4), **shown}


def share_centred(faces: list[list[Face | None]], pattern: NDArray[np.float64]) -> dict[str, object]:
    """How many clips are framed like the pattern, and how many show no face at all to this detector."""
    y, x, height = np.median(pattern, axis=0)

    def near(face: Face | None) -> bool:
        return (
            face is not None
            and abs(face.top + face.height / 2 - y) <= NEAR
            and abs(face.left + face.width / 2 - x) <= NEAR
            and 1 / TALLER <= face.height / height <= TALLER
        )

    seen = [each for each in faces if all(face is not None for face in each)]
    centred = sum(all(map(near, each)) for each in faces)
    return {"pattern": [round(float(each), 3) for each in (y, x, height)], "seen": len(seen), "centred": centred, "of": len(faces)}


if __name__ == "__main__":
    main()
