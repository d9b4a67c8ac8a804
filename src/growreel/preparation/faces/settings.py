"""Every threshold of `--crop faces`, with its meaning and its unit."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from growreel.errors import GrowreelError
from growreel.ranges import check_range


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found, followed and framed, and which clips are refused. docs/faces.md has the measurements behind the defaults."""

    detector: str = "centerface"
    """`centerface`, `dlib`, or the path of a YuNet model, an .onnx file."""
    detect_side: int = 320
    """Pixels of the frame's longer side when faces are looked for; larger finds smaller faces and takes longer."""
    detect_every: int = 3
    """Frames from one that faces are looked for in to the next."""
    probe_every: int = 4
    """Such frames from one probe to the next: where two probes in a row show no face, the frames between are not looked at."""
    min_score: float = 0.5
    """Confidence of centerface or YuNet, 0 to 1, below which there is no face; dlib has a limit of its own."""
    cut: float = 8.0
    """Grey levels, of 255, by which a frame of 64x36 must differ from the one before, on average, to begin a shot."""
    cut_ratio: float = 3.0
    """Times the median difference of the 16 frames around it that this difference must be, too: motion alone is no cut."""
    cut_tones: float = 0.08
    """Share of the pixels that must leave their 1/16 of the grey scale as well, all in all: what only moves keeps its tones."""
    cut_alone: float = 4.0
    """Times the largest difference of the three frames before and behind, from which half of `cut` is a cut whatever its tones: motion does
    not come and go within a frame."""
    gradual: float = 12.0
    """Grey levels by which a frame differs from that 16 frames before in a dissolve or a fade."""
    monotony: float = 0.55
    """Share of all changes of the pixels in those 16 frames that is left as difference at their end, at least: 1 in a perfect dissolve."""
    blend: float = 0.23
    """Share of that difference by which the frames between may be off the best mixture of the first and the last: 0 in a perfect dissolve;
    what moves is no mixture."""
    bar_level: float = 20.0
    """Grey level up to which rows and columns at the edges of a shot are bars, if they are as wide on both sides."""
    min_overlap: float = 0.35
    """Intersection over union of a face with where its track expects it, at least."""
    max_growth: float = 1.35
    """Times that a face's height may grow or shrink from one look to the next."""
    min_likeness: float = 0.5
    """Correlation, -1 to 1, of the grey levels of a face with those a look before, at least: a track has one person."""
    max_gap: int = 1
    """Looks in a row without the face that a track survives."""
    smoothing: float = 3.0
    """Standard deviation, in frames, of the Gaussian that steadies place and size of the window."""
    side: float = 1.0
    """Side of the window over what the detector's own measurements give; below 1 is tighter."""
    min_sharpness: float = 0.375
    """Pixels of the film, at least, for one of the clip, on each axis: a face of 96 pixels in a clip of 256."""
    max_outside: float = 0.02
    """Share of the window's side that may lie outside of the picture, bars not counted; the window is then moved inside."""
    max_jitter: float = 0.01
    """Shares of the side by which the window may jitter: root mean square of second differences of its centre and side, over sqrt 6."""
    max_speed: float = 0.06
    """Shares of the side by which the window may move from a frame to the next."""
    max_off_center: float = 0.06
    """Shares of the side by which the face, as it is seen, may be off the window's centre: the 95th percentile of a clip's looks."""
    max_roll: float = 35.0
    """Degrees by which the line of the eyes may be tilted, in the middle of a clip's looks. Needs a detector that shows eyes."""
    min_eyes: float = 0.12
    """Distance of the eyes, in heights of the face, at least, at every look but one in ten: less is a profile. Needs eyes, too."""
    second_face: float = 0.15
    """Share of another face, of at least 0.4 times the height, that may be in the window, and of the window that it may take."""
    min_light: float = 60.0
    """Grey level that 5 % of the clip's pixels must reach."""
    min_detail: float = 25.0
    """Variance of the Laplacian, in squared grey levels, of the middle of the clip's frames at 128x128, or at their size if that is
    less; below it they are blurred."""
    min_life: float = 0.025
    """Difference of frames 8 apart after the best affine alignment, root mean square over their standard deviation, at least: a photo that
    the camera pans over or zooms into stays below."""
    max_jump: float = 14.0
    """Grey levels by which neighbouring frames of a clip at 64x64 may differ, if that is also 4 times their median difference: a cut or a
    flash that the search for shots has missed."""
    text_contrast: float = 40.0
    """Grey levels by which a thin stroke must stand out from what is around it to be a letter's."""
    text_letters: int = 5
    """Letters in a row, in the same place through the clip, that make a title or a credit."""
    same: float = 0.1
    """Share of the 384 bits of two clips' hashes that may differ if they are to be the same scene shown again in one film."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "detector":
                if not value:
                    raise GrowreelError("--faces.detector: is empty; give centerface, dlib or the path of a YuNet .onnx file")
            elif each.name in ("detect_side", "detect_every", "probe_every", "text_letters"):
                check_range(f"--faces.{each.name}", value, least=64 if each.name == "detect_side" else 1)
            elif each.name == "min_likeness":
                check_range("--faces.min_likeness", value, least=-1, most=1)
            elif each.name in ("smoothing", "side"):
                check_range(f"--faces.{each.name}", value, above=0)
            else:
                check_range(f"--faces.{each.name}", value, least=0)


def checked(settings: FaceSettings) -> FaceSettings:
    """The settings, if their detector can be had. Raises GrowreelError, in one line, if the extra or the file is missing."""
    from growreel.preparation.faces.detectors import MISSING, open_detector

    if find_spec("scipy") is None:
        raise GrowreelError(MISSING.format("scipy"))
    open_detector(settings.detector)
    return settings


def stored(settings: FaceSettings) -> dict[str, Any]:
    """The settings as the index of a store holds them: a model of one's own by the checksum of its file."""
    file = Path(settings.detector)
    if file.suffix.lower() != ".onnx":
        return asdict(settings)
    return asdict(settings) | {"detector": f"yunet {hashlib.sha256(file.read_bytes()).hexdigest()}"}
