"""Shrinking in the decoder's planes against exact areas of exact colours in float64."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from growreel.preparation.cutting import fit_picture
from growreel.video.archives import as_file
from growreel.video.media import Findings, Picture, StillPicture
from growreel.video.reading import read_pictures
from growreel.video.shrinking import window_near
from media import block_frames, encode

KR_KB = {1: (0.2126, 0.0722), 2: (0.299, 0.114)}  # BT.709; unspecified is taken for BT.601


def coverage(length: int, begin: float, end: float, cells: int) -> NDArray[np.float64]:
    """[cells, length]: how much of each pixel lies in each of the equal cells between `begin` and `end`; rows add up to 1."""
    edges = np.linspace(begin, end, cells + 1)[:, None]
    weights = np.clip(np.minimum(np.arange(length) + 1, edges[1:]) - np.maximum(np.arange(length), edges[:-1]), 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def exact(frame: av.VideoFrame, box: tuple[float, float, float, float], height: int, width: int) -> NDArray[np.float64]:
    """The average colours of a yuv420p frame of video range over exact areas."""
    y, u, v = (
        np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].astype(float)
        for plane in frame.planes
    )
    kr, kb = KR_KB[int(frame.colorspace)]
    grown = [
        np.asarray(Image.fromarray(part.astype(np.float32)).resize((frame.width, frame.height), Image.Resampling.BILINEAR))
        for part in (u, v)
    ]
    luma, cb, cr = (y - 16) / 219, (grown[0] - 128) / 224, (grown[1] - 128) / 224
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    rgb = np.clip(np.stack([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], axis=2), 0, 1) * 255
    top, left, bottom, right = box
    rows, columns = coverage(frame.height, top, bottom, height), coverage(frame.width, left, right, width)
    return np.asarray(np.einsum("ih,hwc,jw->ijc", rows, rgb, columns, optimize=True))


def smooth_frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Pictures with detail at every scale and colours inside of RGB."""
    rng = np.random.default_rng(0)
    frames = np.full((count, height, width, 3), 128.0)
    for step in (1, 4, 16):
        blocks = rng.normal(0, 12, (count, -(-height // step), -(-width // step), 3))
        frames += blocks.repeat(step, axis=1).repeat(step, axis=2)[:, :height, :width]
    pixels: NDArray[np.uint8] = np.clip(frames, 40, 215).astype(np.uint8)
    return pixels


def first_picture(path: Path) -> Picture:
    return next(read_pictures(as_file(path), colors=3, findings=Findings())).picture


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (25, 70), (96, 128)])
@pytest.mark.parametrize("frame", [(288, 360), (240, 320), (271, 403)])
@pytest.mark.parametrize("space", ["bt709", None])
def test_nearer_to_exact_areas_than_converting_first(
    tmp_path: Path, frame: tuple[int, int], size: tuple[int, int], space: str | None
) -> None:
    options = {"colorspace": space} if space else {}
    path = encode(tmp_path / "a.mkv", smooth_frames(1, *frame), codec="ffv1", options=options)
    with av.open(str(path)) as container:
        decoded = next(container.decode(video=0))
    height, width = size
    part_h, part_w = min(frame[0], frame[1] * height / width), min(frame[1], frame[0] * width / height)
    top, left = (frame[0] - part_h) / 2, (frame[1] - part_w) / 2
    box = (top, left, top + part_h, left + part_w)
    wanted = exact(decoded, box, height, width)
    converted_first = StillPicture(decoded.to_ndarray(format="rgb24").astype(np.uint8)).part(box, height, width)
    fitted = fit_picture(first_picture(path), height, width, "crop")
    error = fitted - wanted
    window = window_near(decoded, box, height, width)
    if window is None:
        assert np.array_equal(fitted, converted_first)
        return
    edges = (window.top, window.left, window.top + window.height, window.left + window.width)
    if edges == box:
        assert np.abs(error).mean() < max(np.abs(converted_first - wanted).mean(), 0.4)
        assert abs(error.mean()) < 0.1
    moved = max(abs(edges[0] - top) * height / part_h, abs(edges[1] - left) * width / part_w)
    assert moved <= 0.25
    assert np.abs(error).mean() < 1.5  # the detail of single pixels, which a moved edge shares out otherwise


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_parts_of_turned_videos(tmp_path: Path, degrees: int, mirrored: bool, fit: Any) -> None:
    path = encode(
        tmp_path / "a.mp4",
        smooth_frames(1, 96, 160),
        display=(degrees, mirrored, False),
        pixel_aspect=Fraction(4, 3),
        options={"qp": "0"},
        pix_fmt="yuv420p",
    )
    picture = first_picture(path)
    assert (picture.height, picture.width) == ((160, 96) if degrees in (90, 270) else (96, 160))
    still = StillPicture(picture.pixels(), picture.pixel_aspect)
    for tile in (None, (0, 0, picture.height / 2, picture.width / 2), (picture.height / 2, 0, picture.height, picture.width / 2)):
        one, other = (fit_picture(each, 16, 24, fit, tile) for each in (picture, still))
        assert np.abs(one.astype(int) - other).mean() < 3
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97


def test_what_needs_no_shrinking_is_converted_as_ever(tmp_path: Path) -> None:
    frames = block_frames(2, 48, 64)
    for options in ({"codec": "ffv1", "pix_fmt": "bgr0"}, {"codec": "libx264", "pix_fmt": "yuv420p"}):
        path = encode(tmp_path / "a.mkv", frames, **options)  # type: ignore[arg-type]
        picture = first_picture(path)
        still = StillPicture(picture.pixels())
        for size in ((48, 64), (48, 48), (96, 128), (60, 40)):
            assert np.array_equal(fit_picture(picture, *size, "crop"), fit_picture(still, *size, "crop"))
    rgb = encode(tmp_path / "rgb.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    assert np.array_equal(fit_picture(first_picture(rgb), 12, 16, "crop"), fit_picture(StillPicture(frames[0]), 12, 16, "crop"))
