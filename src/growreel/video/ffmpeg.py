"""Decoding videos with FFmpeg: which stream, in spite of which damage, which side up."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.video.archives import MediaFile
from growreel.video.media import MAX_PIXELS, Colors, DamagedError, Findings, Frame, NotMediaError, Shown
from growreel.video.pixels import colored, on_black, resize
from growreel.video.shrinking import Shrinker

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
    from typing_extensions import Buffer

DEFAULT_BONUS = 5_000_000  # pixels that a stream marked as default counts more, as in the ffmpeg program
LOOSE_STARTS = ("mpeg",)  # streams that are cut anywhere: they begin with packets that nothing can decode, and say no true length
NOTED_EVERY = 16  # frames, of which one is asked for what it says of itself
HDR = {16: "PQ", 18: "HLG"}  # transfer functions
HEIC_BRANDS = (b"heic", b"heix", b"mif1")
HEIC_ADVICE = "pip install 'growreel[heic]', or save it as JPEG or PNG"
STILL_DEMUXERS = ("image2",)  # and all whose names end in _pipe: one picture a file


_Sides = tuple[bool, bool, bool]


class DecodedPicture:
    """A decoded frame, which becomes RGB when it is asked for, and then no more of it than is needed."""

    __slots__ = ("_frame", "_pixels", "_shrinker", "_sides", "height", "pixel_aspect", "width")

    def __init__(self, frame: av.VideoFrame, sides: _Sides, stored_aspect: float, shrinker: Shrinker) -> None:
        self._frame, self._sides, self._shrinker = frame, sides, shrinker
        turned = sides[0]
        self.height, self.width = (frame.width, frame.height) if turned else (frame.height, frame.width)
        self.pixel_aspect = 1 / stored_aspect if turned else stored_aspect
        self._pixels: Frame | None = None

    def pixels(self) -> Frame:
        if self._pixels is None:
            self._pixels = _upright(_converted(self._frame, self._shrinker.colors), self._sides)
        return self._pixels

    def part(self, box: tuple[float, float, float, float], height: int, width: int) -> Frame:
        turned, mirrored, flipped = self._sides
        top, left, bottom, right = box
        if flipped:
            top, bottom = self.height - bottom, self.height - top
        if mirrored:
            left, right = self.width - right, self.width - left
        if turned:
            small = self._shrinker.shrink(self._frame, (left, top, right, bottom), width, height)
        else:
            small = self._shrinker.shrink(self._frame, (top, left, bottom, right), height, width)
        return resize(self.pixels(), height, width, box) if small is None else _upright(small, self._sides)


def _converted(frame: av.VideoFrame, colors: Colors) -> Frame:
    """All of a frame as uint8 [h, w, colors], what is transparent on black."""
    layout = frame.format
    if layout.has_palette or any(plane.is_alpha for plane in layout.components):
        return colored(on_black(frame.to_ndarray(format="rgba", threads=1).astype(np.uint8, copy=False)), colors)
    pixels = frame.to_ndarray(format="gray" if colors == 1 else "rgb24", threads=1).astype(np.uint8, copy=False)
    return pixels.reshape(*pixels.shape[:2], colors)


@contextmanager
def open_video(file: MediaFile) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its pictures. Raises NotMediaError where there are none, GrowreelError if it cannot be read."""
    import av

    with file.opened_for_ffmpeg() as source:
        try:
            container = av.open(source, "r", metadata_errors="ignore")
        except (PermissionError, FileNotFoundError) as error:
            raise GrowreelError(f"{file}: cannot be read ({error.strerror})") from error
        except av.error.FFmpegError as error:
            raise _not_media(file) from error
        with container:
            yield container, _pictures(container, file)


def is_still(container: InputContainer, file: MediaFile) -> bool:
    """Whether the file is one picture in a format that FFmpeg knows (EXR, DPX, SGI, HEIC)."""
    names = container.format.name.split(",")
    return any(name in STILL_DEMUXERS or name.endswith("_pipe") for name in names) or _is_heic(file)


def _is_heic(file: MediaFile) -> bool:
    with file.opened() as stream:
        start = stream.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS


def deep_values(file: MediaFile) -> NDArray[np.uint16]:
    """The values of a picture with 16 bits a colour, uint16 [h, w, samples], as they are stored, whatever side is up.

    Raises DamagedError if it cannot be decoded, GrowreelError if its pixels lie in another way.
    """
    import av

    with open_video(file) as (container, stream):
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError as error:
            raise DamagedError(f"{file}: cannot be decoded ({error.strerror})") from error
    if frame is None:
        raise DamagedError(f"{file}: cannot be decoded")
    samples = [each.bits for each in frame.format.components]
    if set(samples) != {16} or len(frame.planes) != 1:
        raise GrowreelError(f"{file}: its 16-bit colours cannot be read as they lie; save it with interleaved samples, or with 8 bits")
    kind = np.dtype(np.uint16).newbyteorder(">" if frame.format.name.endswith("be") else "<")
    lines = np.frombuffer(bytes(cast("Buffer", frame.planes[0])), kind).reshape(frame.height, -1)
    values: NDArray[np.uint16] = lines[:, : frame.width * len(samples)].reshape(frame.height, frame.width, len(samples)).astype(np.uint16)
    return values


def decoded(file: MediaFile, colors: Colors, findings: Findings, threads: int = 1) -> Iterator[Shown]:
    """Yield every picture that can be decoded, in order; damage goes into `findings` and costs only what is damaged.

    What several decoder threads make of damage depends on chance: where there is any, the rest is decoded by one thread.

    Raises:
        NotMediaError, GrowreelError: as `open_video`.
        DamagedError: if no frame can be decoded.
    """
    done = 0
    if threads > 1:
        try:
            for shown in _decoded(file, colors, findings, threads):
                done += 1
                yield shown
            return
        except _DamageInThreads:
            pass
    for number, shown in enumerate(_decoded(file, colors, findings, 1)):
        if number >= done:
            yield shown


class _DamageInThreads(Exception):
    """Something was wrong while several threads decoded."""


def _decoded(file: MediaFile, colors: Colors, findings: Findings, threads: int) -> Iterator[Shown]:
    with open_video(file) as (container, stream):
        if stream.width * stream.height > MAX_PIXELS:
            raise GrowreelError(f"{file}: frames of {stream.width}x{stream.height}; more than {MAX_PIXELS:,} pixels are not read")
        context = _context(stream, threads)
        findings.declared = [float(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        spacing = 1 / findings.declared[0] if findings.declared else 0.04
        tick = float(stream.time_base or 0)
        loose = container.format.name.startswith(LOOSE_STARTS)
        ends_well = container.format.name == "mpjpeg" and _ends_with_its_boundary(file)
        aspect, shrinker = float(stream.sample_aspect_ratio or 1), Shrinker(colors)
        count, elapsed, time, lost, place = 0, 0.0, -spacing, False, -1
        sides = (False, False, False)
        for frames, error, last in _packets(container, stream, context):
            findings.alive()
            bad = (error is not None and not (last and ends_well)) or any(frame.is_corrupt for frame in frames)
            if bad and threads > 1:
                raise _DamageInThreads
            if bad and (count or not loose):
                lost, place = True, count if place < 0 else place
                findings.damaged = True
            elif frames and not last and place >= 0:  # decoding has gone on: it was damage, not the end
                findings.damage(f"damaged after frame {place}" if place else "damaged at its beginning")
            for frame in frames:
                if frame.is_corrupt:
                    continue
                now = frame.time
                if now is None or math.isnan(now):  # frames flushed at the end may have no time base of their own
                    now = time + spacing if frame.pts is None or not tick else frame.pts * tick
                elapsed += max(now - time, 0.0) if count else spacing
                time, count = now, count + 1
                if count % NOTED_EVERY == 1:
                    _note_kind(frame, findings)
                if frame.key_frame or count == 1:
                    sides = _orientation(frame)
                stays = (frame.duration or 0) * tick or spacing
                yield Shown(time, stays, DecodedPicture(frame, sides, aspect, shrinker), lost and frame.pts is None)
                lost = False
        if not count:
            raise DamagedError(f"{file}: no frames that can be decoded")
        missing = 0.0 if loose else _declared_seconds(container, stream) - elapsed
        if missing > max(3 * spacing, 0.05 * (elapsed + missing)) or _riff_is_cut(file) or (findings.damaged and not findings.notes):
            findings.damage(f"truncated or damaged after frame {count}")


def _context(stream: VideoStream, threads: int) -> VideoCodecContext:
    """The decoder. VP9 keeps transparency beside the stream, and only libvpx looks there."""
    import av

    context = stream.codec_context
    if context.name == "vp9" and stream.metadata.get("alpha_mode") == "1" and "libvpx-vp9" in av.codec.codecs_available:
        context = av.CodecContext.create("libvpx-vp9", "r")
    elif threads > 1:
        stream.thread_type = "AUTO"
    context.thread_count = threads
    return context


class _Step(NamedTuple):
    """The frames that a packet completes, or the error that it gives.

    `last`: the frames were waiting in the decoder at the end, or it is this error that ends the packets.
    """

    frames: list[av.VideoFrame]
    error: Exception | None = None
    last: bool = False


def _packets(container: InputContainer, stream: VideoStream, context: VideoCodecContext) -> Iterator[_Step]:
    """Decode packet by packet. An error does not end it, as in the ffmpeg program."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            # A packet of a stream that appears late (FLV) and that PyAV does not know: its loop ends, the container goes on.
            packets = container.demux(stream)
            continue
        except av.error.FFmpegError as error:
            yield _Step([], error, last=True)
            packet = None
        try:
            yield _Step(context.decode(packet), last=packet is None or packet.size == 0)
        except av.error.EOFError:
            return  # it was emptied by the last packet
        except av.error.FFmpegError as error:
            yield _Step([], error)
        if packet is None:
            return


def _ends_with_its_boundary(file: MediaFile) -> bool:
    """Whether pictures in parts of a message end as they should. FFmpeg calls the end of such a file invalid, though it writes them."""
    with file.opened() as stream:
        boundary = stream.readline(200).strip()
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 200))
        end = stream.read().rstrip().removesuffix(b"--")
    return boundary.startswith(b"--") and end.endswith(b"\n" + boundary)


def _note_kind(frame: av.VideoFrame, findings: Findings) -> None:
    """Say what the pixels do not show by themselves."""
    if frame.interlaced_frame:
        findings.note("interlaced: moving edges have combs; deinterlace it first (ffmpeg -vf bwdif) where that matters")
    if int(frame.color_trc) in HDR:
        findings.note(f"HDR ({HDR[int(frame.color_trc)]}): its colours look flat; tone-map it first where that matters")


def _pictures(container: InputContainer, file: MediaFile) -> VideoStream:
    """The stream that the ffmpeg program would take: the one with the most pixels, a default one first, never cover art.

    FFmpeg also opens plain text, as a `tty` recording.
    """
    from av.stream import Disposition

    if container.format.name == "tty" or not len(container.streams):
        raise _not_media(file)
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if any(stream.disposition & Disposition.dependent for stream in streams) and _is_heic(file):
        raise NotMediaError(f"{file}: a HEIC picture made of tiles, as phones write it: {HEIC_ADVICE}", claimed=True)
    able = [stream for stream in streams if stream.codec_context is not None]
    if able:
        return max(able, key=lambda each: each.width * each.height + DEFAULT_BONUS * bool(each.disposition & Disposition.default))
    if streams:
        raise NotMediaError(f"{file}: its pictures are in a codec that this FFmpeg does not have; convert it to H.264", claimed=True)
    kinds = ", ".join(sorted({stream.type for stream in container.streams}))
    raise NotMediaError(f"{file}: has no pictures, only {kinds}")


def _not_media(file: MediaFile) -> NotMediaError:
    """Why FFmpeg cannot open a file: an incomplete video is told from what never was one."""
    with file.opened() as stream:
        start = stream.read(12)
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
        return NotMediaError(f"{file}: a HEIC picture that FFmpeg cannot open: {HEIC_ADVICE}", claimed=True)
    if start[4:8] == b"ftyp" or start[:4] in (b"RIFF", b"\x1a\x45\xdf\xa3"):
        return NotMediaError(
            f"{file}: an incomplete video: its index or head is missing, so no frame can be decoded; copy it again", claimed=True
        )
    return NotMediaError(f"{file}: not a video or image")


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    """How long the file says its pictures last; 0 if it does not say. Sound may last longer than the pictures."""
    import av

    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska
    if match:
        hours, minutes, seconds = map(float, match.groups())
        return hours * 3600 + minutes * 60 + seconds
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else 0.0


def _riff_is_cut(file: MediaFile) -> bool:
    """Whether a RIFF file (AVI) ends before the length that its head states."""
    with file.opened() as stream:
        start = stream.read(8)
        return start[:4] == b"RIFF" and stream.seek(0, os.SEEK_END) < 8 + int.from_bytes(start[4:8], "little")


def _upright(pixels: Frame, sides: _Sides) -> Frame:
    """Turn and mirror pixels [h, w, c] as `_orientation` says."""
    turned, mirrored, flipped = sides
    if turned:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if flipped else 1, :: -1 if mirrored else 1])


def _orientation(frame: av.VideoFrame) -> _Sides:
    """Whether to swap rows and columns and, after that, to reverse columns and to reverse rows.

    The display matrix takes (x, y) to (a x + c y, b x + d y); angles between quarter turns go to the nearest.
    """
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18.1 fails on side data it has no name for, here the EXIF of Motion JPEG (PyAV-Org/PyAV#2392); the angle it still gives.
        quarters = round(frame.rotation / 90) % 4
        return quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2)
    if side_data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(cast("Buffer", side_data)), np.int32)[:5].tolist()
    turned = abs(a) < abs(b)
    return turned, (c if turned else a) < 0, (b if turned else d) < 0
