"""Writing clips as files to look at."""

from __future__ import annotations

import io
import itertools
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.ranges import check_range
from growreel.runtime.durable import replacing, writing
from growreel.video.comments import gif_comment, mp4_comment, png_comment, webp_comment, write_beside
from growreel.video.pixels import to_image

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_FPS, MAX_FPS = 0.05, 1000
IMAGE_DESCRIPTION = 0x010E
"""EXIF's tag for a sentence about the picture."""
CLIP_SUFFIXES = (".mp4", ".gif", ".webp", ".png", ".npy")


def write_clip(path: str | os.PathLike[str], frames: NDArray[np.uint8], fps: float, comment: str | None = None) -> None:
    """Write a clip, uint8 [t, h, w, c] with c 1 or 3, in the format of the suffix.

    `.mp4` (H.264; an odd edge is repeated once to make sizes even), `.gif` (one palette for the clip) and `.webp` (lossless), both
    looping forever, `.png` (frames side by side), `.npy` (the array). `comment`, ASCII, goes where `read_comment` finds it: into the file,
    for an array into a file beside it. Raises GrowreelError for another suffix or array.
    """
    path = Path(path)
    check_suffix(path)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] not in (1, 3) or not frames.size:
        raise GrowreelError(f"{path}: a clip is a uint8 array [t, h, w, 1 or 3], not {frames.dtype} {list(frames.shape)}")
    check_range(f"{path}: frames per second", fps, least=MIN_FPS, most=MAX_FPS)
    with writing(path):
        with replacing(path) as file:
            _write(file, path.suffix.lower(), frames, fps, comment)
        if path.suffix.lower() == ".npy":
            write_beside(path, comment)


def check_suffix(path: Path) -> None:
    """Raise GrowreelError unless `write_clip` knows the format of the path."""
    if path.suffix.lower() not in CLIP_SUFFIXES:
        raise GrowreelError(f"{path}: cannot write {path.suffix or 'a file without a suffix'}; use {', '.join(CLIP_SUFFIXES)}")


def _write(file: BinaryIO, suffix: str, frames: NDArray[np.uint8], fps: float, comment: str | None) -> None:
    match suffix:
        case ".npy":
            np.save(file, frames)
        case ".png":
            to_image(np.concatenate(list(frames), axis=1)).save(file, "PNG", **png_comment(comment))
        case ".webp":
            file.write(webp_bytes(frames, fps, comment))
        case ".gif":
            first, *rest = _with_palette(frames)
            # GIF counts hundredths of a second, and browsers slow frames of less than two down to ten.
            durations = [10 * each for each in _durations(len(frames), fps, unit=0.01, least=2)]
            first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False, **gif_comment(comment))
        case ".mp4":
            _write_mp4(file, frames, fps, comment)


def webp_bytes(frames: NDArray[np.uint8], fps: float, comment: str | None = None, quality: int | None = None) -> bytes:
    """A WebP of uint8 [t, h, w, 1 or 3], looping forever; lossless, or with a loss at `quality`, 0 to 100."""
    first, *rest = [to_image(frame).convert("RGB") for frame in frames]
    durations = _durations(len(frames), fps, unit=0.001, least=1)
    how = {"lossless": True, "method": 2} if quality is None else {"quality": quality, "method": 2}
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=rest, duration=durations, loop=0, **how, **webp_comment(comment))
    return stream.getvalue()


def _durations(count: int, fps: float, unit: float, least: int) -> list[int]:
    """How many units each frame stays, so that frame k ends as near to (k + 1) / fps as whole units allow."""
    ends = [math.floor(k / fps / unit + 0.5) for k in range(count + 1)]
    return [max(least, after - before) for before, after in itertools.pairwise(ends)]


def _with_palette(frames: NDArray[np.uint8]) -> list[Image]:
    """Frames in one palette of 256 colours, drawn from all of them: it does not flicker from frame to frame."""
    from PIL import Image

    rgb = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:3], 3)))
    codes, places = np.unique(rgb.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32), return_inverse=True)
    if len(codes) <= 256:  # Pillow would take colours close by
        few = [to_image(indices[..., None]) for indices in places.reshape(frames.shape[:3]).astype(np.uint8)]
        for image in few:
            image.putpalette(np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8).tobytes())
        return few
    sample = rgb.reshape(-1, 1, 3)[:: max(1, rgb.size // 3 // 2**20)]
    palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)
    return [Image.fromarray(frame).quantize(palette=palette) for frame in rgb]


def _write_mp4(file: BinaryIO, frames: NDArray[np.uint8], fps: float, comment: str | None) -> None:
    """By name, as the index is moved to the front at the end, for which the file is opened once more.

    In one thread: x264 takes more for pictures of some rows, and its bytes then depend on the number of cores.
    """
    import av

    h, w = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="edge")  # yuv420p halves both axes
    with av.open(file.name, "w", format="mp4", options={"movflags": "faststart"}) as container:
        container.metadata.update(mp4_comment(comment))
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "16", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        for number, frame in enumerate(even):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3))), format="rgb24")
            picture.pts, picture.time_base = number, 1 / stream.codec_context.framerate
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
