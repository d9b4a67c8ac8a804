"""A trailer drawn by code, with everything that a film puts between a face and a clip, and a detector that finds drawn faces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from growreel.preparation.faces.detectors import Face, Framing

Picture = NDArray[np.uint8]
HEIGHT, WIDTH, BAR = 180, 320, 20


class Scene(NamedTuple):
    """Frames of a shot and what should become of its clips: `kept`, or the rule that refuses them, or nothing at all."""

    name: str
    frames: Picture
    fate: str | None


class DrawnDetector:
    """Finds what `face` draws: regions that are redder than blue. `noise`: errors of its boxes, in shares of their height."""

    framing = Framing(1.05, 0.08)

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def find(self, picture: Picture, min_score: float) -> list[Face]:
        red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
        skin = ndimage.binary_closing(red > 1.25 * blue + 4, np.ones((5, 5)))
        numbered, _ = ndimage.label(ndimage.binary_opening(skin, np.ones((3, 3))))
        faces = []
        for rows, columns in ndimage.find_objects(numbered):
            top, left, tall, wide = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
            if tall < 12:
                continue
            part = picture[rows, columns].astype(int)
            eyes, count = ndimage.label(part[..., 2] > 5 * part[..., 1] + 5)
            centres = sorted((x, y) for y, x in ndimage.center_of_mass(eyes > 0, eyes, range(1, count + 1)) if y < tall / 2)
            seen = (centres[0][0] + left, centres[0][1] + top, centres[-1][0] + left, centres[-1][1] + top) if centres else None
            error = np.random.default_rng(int(picture.sum())).normal(0, self.noise * tall, 3) if self.noise else np.zeros(3)
            faces.append(Face(left + error[0], top + error[1], wide, tall + error[2], 0.9, seen))
        return faces


def ground(seed: int) -> Picture:
    """A background of soft bluish blotches, [180, 320, 3]."""
    rng = np.random.default_rng(seed)
    blotches = ndimage.zoom(rng.uniform(0, 1, (9, 16)), 20, order=1)[:HEIGHT, :WIDTH, None]
    colours = rng.uniform([[[[20]]], [[[90]]]], [[[[60]]], [[[150]]]], (2, 1, 1, 1)) * [0.6, 1.0, 1.3]
    mixed: Picture = (colours[0] * blotches + colours[1] * (1 - blotches)).astype(np.uint8)
    return mixed


def face(picture: Picture, y: float, x: float, tall: float, person: int, moment: float, yaw: float = 0.0) -> Picture:
    """Draw a face of height `tall` around (y, x), with freckles of its own; mouth and eyes by `moment` and `yaw` (radians)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    v, u = (rows - y) / tall * 2, (columns - x) / tall * 2  # -1 to 1 from top to bottom
    inside = v**2 + (u / 0.78) ** 2 <= 1
    freckles = np.random.default_rng(1000 + person).uniform(0.55, 1.0, (24, 24))
    shade = ndimage.map_coordinates(freckles, [(v + 1) * 11.5, (u + 1) * 11.5], order=1, mode="nearest")
    drawn = picture.astype(np.float64)
    skin = np.random.default_rng(person).uniform([190, 130, 70], [240, 175, 110])
    drawn[inside] = (skin * shade[..., None])[inside]
    opening = 0.12 + 0.1 * np.sin(moment)
    mouth = (u / 0.34) ** 2 + ((v - 0.55) / opening) ** 2 <= 1
    drawn[mouth & inside] = (70, 15, 10)
    for side in (-1, 1):
        eye = (u - 0.35 * side * np.cos(yaw) - 0.5 * np.sin(yaw)) ** 2 + (v + 0.22) ** 2 <= 0.11**2
        drawn[eye & inside] = (10, 10, 130)
    return drawn.astype(np.uint8)


def talking(count: int, person: int, *, y: float = 92, x: float = 160, tall: float = 80, drift: float = 0.3) -> Picture:
    """A head that speaks and drifts to the right, [count, 180, 320, 3]."""
    back = ground(person)
    return np.stack([face(back, y, x + drift * t, tall, person, 0.9 * t) for t in range(count)])


def lettered(frames: Picture, text: str, y: int) -> Picture:
    """White letters over frames."""
    lines = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(lines).text((WIDTH // 2, y), text, 255, anchor="mm", font_size=13)
    return np.where(np.asarray(lines)[..., None] > 100, np.uint8(250), frames)


def boxed(frames: Picture) -> Picture:
    """Frames in a letterbox."""
    frames = frames.copy()
    frames[:, :BAR] = frames[:, -BAR:] = 2
    return frames


def scenes() -> list[Scene]:
    """The shots of the trailer, in order; each but the dissolve begins with a hard cut."""
    title = lettered(np.full((24, HEIGHT, WIDTH, 3), 8, np.uint8), "THIS SUMMER", 90)
    flashed = talking(44, 3)
    flashed[20:22] = 255
    one, other = talking(52, 4)[36:], talking(16, 5)
    weight = np.linspace(0, 1, 18)[1:-1, None, None, None]
    dissolve = (one * (1 - weight) + other * weight).astype(np.uint8)
    photo = face(ground(6), 92, 160, 80, 6, 0.0)
    zoomed = np.stack([_zoom(photo, 1 + 0.006 * t) for t in range(24)])
    two = np.stack([face(frame, 96, 240, 70, 8, 1.1 * t + 1) for t, frame in enumerate(talking(24, 7, x=80, drift=0.1))])
    close = np.stack([face(frame, 52, 202, 36, 10, 1.1 * t + 1) for t, frame in enumerate(talking(24, 9, drift=0.0))])
    turning = np.stack([face(ground(11), 92, 160, 80, 11, 0.9 * t, yaw=min(1.45, 0.09 * t)) for t in range(24)])
    dark = (talking(24, 12) * 0.2).astype(np.uint8)
    blurred = np.stack([np.asarray(Image.fromarray(each).filter(ImageFilter.GaussianBlur(7))) for each in talking(24, 13)])
    shots = [
        Scene("title", title, None),
        Scene("one", talking(40, 1), "kept"),
        Scene("another in her place", talking(40, 2), "kept"),
        Scene("flash", flashed, "kept"),
        Scene("before the dissolve", talking(36, 4), "kept"),
        Scene("dissolve", dissolve, None),
        Scene("after the dissolve", talking(36, 5), "kept"),
        Scene("photo", zoomed, "still"),
        Scene("two", two, "kept"),
        Scene("close together", close, "two faces"),
        Scene("turning away", turning, "turned away"),
        Scene("at the bar", talking(24, 14, y=118), "border"),
        Scene("dark", dark, "dark"),
        Scene("blurred", blurred, "blurred"),
        Scene("credits", lettered(talking(24, 15), "DIRECTOR", 104), "text"),
        Scene("far away", talking(24, 16, tall=20), "small"),
        Scene("again", talking(24, 1), "repeated"),
        Scene("glimpse", talking(8, 17), "short"),
    ]
    return [shot._replace(frames=boxed(shot.frames)) for shot in shots]


def _zoom(picture: Picture, scale: float) -> Picture:
    h, w = HEIGHT / scale, WIDTH / scale
    box = ((WIDTH - w) / 2, (HEIGHT - h) / 2, (WIDTH + w) / 2, (HEIGHT + h) / 2)
    return np.asarray(Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box))
