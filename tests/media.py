"""Small real media files for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]


def block_frames(count: int, height: int = 48, width: int = 64, seed: int = 0) -> Frames:
    """uint8 [count, h, w, 3] of plain 8 x 8 blocks: they survive lossy codecs, and no two frames are alike."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 226, (count, -(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width])


def corner_frames(count: int, height: int = 48, width: int = 64) -> Frames:
    """Frames whose four corners have four colours, so that each of the eight orientations looks different."""
    frames = np.full((count, height, width, 3), 90, np.uint8)
    frames[:, : height // 2, : width // 2] = (230, 30, 30)
    frames[:, : height // 2, width // 2 :] = (30, 230, 30)
    frames[:, height // 2 :, : width // 2] = (30, 30, 230)
    return frames


def encode(
    path: Path,
    frames: Frames,
    *,
    fps: int = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    display: tuple[int, bool, bool] | None = None,
    times_ms: Sequence[int] | None = None,
    index_first: bool = False,
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode uint8 [t, h, w, 3]. `display` is (degrees counter-clockwise, mirrored, flipped); `times_ms` makes the rate variable."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        if display is not None:
            stream.set_display_rotation(*display)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def mux_jpegs(path: Path, jpegs: Sequence[bytes], *, height: int, width: int) -> Path:
    """A Motion JPEG video of files as they are, as cameras write it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
        for number, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.pts, packet.dts, packet.time_base, packet.is_keyframe = stream, number, number, Fraction(1, 10), True
            container.mux(packet)
    return path


def cut_off(path: Path, fraction: float = 0.5) -> Path:
    """Keep the first part of a file, as a broken download does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def save_image(path: Path, pixels: NDArray[np.generic], format: str | None = None) -> Path:
    Image.fromarray(pixels).save(path, format)
    return path


def save_strip(path: Path, frames: Frames, *, vertical: bool = False, format: str | None = None) -> Path:
    return save_image(path, np.concatenate(list(frames), axis=0 if vertical else 1), format)


def save_frames(folder: Path, frames: Frames) -> Path:
    """A folder of PNGs whose names need natural sorting: frame0.png .. frame10.png."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        save_image(folder / f"frame{number}.png", frame)
    return folder
