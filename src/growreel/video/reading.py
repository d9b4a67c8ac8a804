"""Reading moving pictures, one upright uint8 frame at a time: a long video is never held in memory.

Videos are decoded by PyAV, pictures and animations (GIF, WebP, APNG, TIFF stacks) by Pillow; both are imported when first used.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from PIL.Image import Image
    from typing_extensions import Buffer

Frame = NDArray[np.uint8]
Colors = Literal[1, 3]
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
ANIMATED_FORMATS = ("PNG", "GIF", "WEBP", "TIFF", "AVIF")  # not MPO, which the JPEG reader makes of a photo with a preview
PHOTO_FORMATS = ("JPEG", "MPO")  # cameras note in these which side is up
LATE = 0.15  # containers store times in whole milliseconds (Matroska) or hundredths (GIF): frames seem to come late by so much
BROWSER_DELAY = 0.1  # what browsers make of an animation frame that lasts 0 ms


class NotMediaError(GrowreelError):
    """The file is neither a video nor an image that can be read."""


class DamagedError(GrowreelError):
    """Decoding stopped at damaged or missing data; the frames before it are good."""


@dataclass(frozen=True)
class MediaInfo:
    """What a file shows. Height and width are those of the upright first frame.

    Attributes:
        kind: `video` for frames that follow one another, `image` for one still picture.
        fps: average frames per second as the file declares them; None for an image.
        pixel_aspect: width of a pixel over its height; 1 for square pixels.
    """

    kind: Literal["video", "image"]
    height: int
    width: int
    fps: float | None
    pixel_aspect: float = 1.0


class _Shown(NamedTuple):
    """A frame with the second at which it appears and the seconds for which it stays."""

    time: float
    duration: float
    frame: Frame


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Look at a file by its content, whatever its name.

    Raises:
        NotMediaError: if it is no video or image, or a video without pictures.
        DamagedError: if its first frame cannot be decoded.
        GrowreelError: if it cannot be opened.
    """
    image = _open_image(path)
    if image is not None:
        with image, _pillow_errors(0):
            if not _is_animated(image):
                width, height = image.size
                sideways = image.format in PHOTO_FORMATS and image.getexif().get(0x0112, 1) >= 5  # EXIF orientation: on its side
                return MediaInfo("image", width if sideways else height, height if sideways else width, None)
            first = next(_image_frames(image, 3))
            height, width = first.frame.shape[:2]
            return MediaInfo("video", height, width, 1 / first.duration)
    with _open_video(path) as container:
        stream = _pictures(container, path)
        _, _, decoded = next(_decode(container, stream))
        height, width, aspect = decoded.height, decoded.width, float(stream.sample_aspect_ratio or 1)
        if _orientation(decoded)[0]:
            height, width, aspect = width, height, 1 / aspect
        return MediaInfo("video", height, width, float(_rate(stream)), aspect)


def read_frames(path: str | os.PathLike[str], *, colors: Colors = 3, fps: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a video, an animation or a still image, uint8 [h, w, colors] in 0 to 255.

    Rotation stored by phones and cameras is applied; transparent parts become black; 10- and 16-bit pictures are scaled to 8.

    Args:
        path: the file.
        colors: 3 for RGB, 1 for grey.
        fps: give that many frames per second of film, repeating or leaving out frames; None gives each decoded frame once.

    Raises:
        NotMediaError, GrowreelError: as `probe`.
        DamagedError: in place of the first frame that is damaged or missing; all frames before it have been yielded.
    """
    shown = _shown(path, colors)
    if fps is None:
        return (each.frame for each in shown)
    return _at_constant_rate(shown, fps)


def _shown(path: str | os.PathLike[str], colors: Colors) -> Iterator[_Shown]:
    image = _open_image(path)
    if image is not None:
        with image:
            yield from _image_frames(image, colors)
        return
    with _open_video(path) as container:
        stream = _pictures(container, path)
        stream.thread_type = "AUTO"
        for time, duration, decoded in _decode(container, stream):
            pixels = decoded.to_ndarray(format="gray" if colors == 1 else "rgb24").astype(np.uint8, copy=False)
            yield _Shown(time, duration, _upright(decoded, pixels.reshape(*pixels.shape[:2], colors)))


def _at_constant_rate(shown: Iterator[_Shown], fps: float) -> Iterator[Frame]:
    """Sample and hold: output frame k is the last one to appear by k / fps, give or take `LATE` of a frame."""
    held: _Shown | None = None
    slot, begin = 0, 0.0
    damage: DamagedError | None = None
    try:
        for each in shown:
            if held is None:
                begin = each.time
            here = math.ceil((each.time - begin) * fps - LATE)
            if held is not None:
                for _ in range(slot, here):
                    yield held.frame
            slot, held = max(slot, here), each
    except DamagedError as error:
        damage = error
    if held is not None:
        end = math.floor((held.time + held.duration - begin) * fps + 0.5)
        for _ in range(slot, max(end, 1)):
            yield held.frame
    if damage is not None:
        raise damage


def _open_image(path: str | os.PathLike[str]) -> Image | None:
    """The file as a Pillow image if it is one of IMAGE_FORMATS. Other Pillow formats are left to FFmpeg (MPEG) or refused (EPS)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a long strip is large for a reason
            return Image.open(path, formats=IMAGE_FORMATS)
    except UnidentifiedImageError:
        return None
    except (PermissionError, FileNotFoundError) as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:
        raise DamagedError(f"{path}: cannot be decoded ({error})") from error


@contextmanager
def _pillow_errors(frames: int) -> Iterator[None]:
    """Name the damage after so many frames. What Pillow raises for a damaged file depends on the format and on the damage."""
    try:
        yield
    except (GrowreelError, EOFError):
        raise
    except Exception as error:
        raise DamagedError(f"truncated or damaged after frame {frames}" if frames else f"cannot be decoded ({error})") from error


def _is_animated(image: Image) -> bool:
    return image.format in ANIMATED_FORMATS and bool(getattr(image, "is_animated", False))


def _image_frames(image: Image, colors: Colors) -> Iterator[_Shown]:
    from PIL import ImageOps

    count, time = 0, 0.0
    with _pillow_errors(0):
        animated = _is_animated(image)
    while True:
        try:
            with _pillow_errors(count):
                image.seek(count)
                image.load()
                pixels = _pixels(ImageOps.exif_transpose(image) if image.format in PHOTO_FORMATS else image, colors)
        except EOFError:
            if count == 0:
                raise DamagedError("no frame can be decoded") from None
            return
        duration = image.info.get("duration", 0) / 1000 or BROWSER_DELAY
        yield _Shown(time, duration, pixels)
        count, time = count + 1, time + duration
        if not animated:
            return


def _pixels(image: Image, colors: Colors) -> Frame:
    """A Pillow image as uint8 [h, w, colors]."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise GrowreelError(f"{image.mode}: pictures of 32-bit pixels have no known range; save them with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        scaled = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        image = Image.fromarray(scaled.astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    pixels = np.asarray(image.convert("L" if colors == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], colors)


def _open_video(path: str | os.PathLike[str]) -> InputContainer:
    import av

    try:
        return av.open(os.fspath(path), metadata_errors="ignore")
    except (PermissionError, FileNotFoundError) as error:
        raise GrowreelError(f"{path}: cannot be read ({error.strerror})") from error
    except av.error.FFmpegError as error:
        raise _not_media(path) from error


def _pictures(container: InputContainer, path: str | os.PathLike[str]) -> VideoStream:
    """The video stream, passing over cover art. FFmpeg also opens plain text, as a `tty` recording."""
    from av.stream import Disposition

    if container.format.name == "tty" or not len(container.streams):
        raise _not_media(path)
    for stream in container.streams.video:
        if stream.codec_context is None:
            raise NotMediaError(f"{path}: its pictures are in a codec that this FFmpeg does not have; convert it to H.264")
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise NotMediaError(f"{path}: has no pictures, only {', '.join(sorted({stream.type for stream in container.streams}))}")


def _not_media(path: str | os.PathLike[str]) -> NotMediaError:
    """Why FFmpeg cannot open a file: an incomplete video is told from what never was one."""
    with open(path, "rb") as stream:
        start = stream.read(8)
    if start[4:] == b"ftyp" or start[:4] in (b"RIFF", b"\x1a\x45\xdf\xa3"):
        return NotMediaError(f"{path}: an incomplete video: its index or head is missing, so no frame can be decoded; copy it again")
    return NotMediaError(f"{path}: not a video or image")


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """Yield time, duration (seconds) and decoded frame. Raises DamagedError where data is damaged or ends too early."""
    spacing, declared = float(1 / _rate(stream)), _declared_seconds(container, stream)
    count, begin, time = 0, 0.0, -spacing
    packets = container.demux(stream)
    damage: Exception | None = None
    while damage is None and (step := _next_frames(packets, stream)) is not None:
        frames, damage = step
        if damage is not None and not frames and not count:
            # A stream cut out of a longer one begins with packets that cannot be decoded on their own.
            stream.codec_context.flush_buffers()
            damage = None
        for frame in frames:
            time_base = frame.time_base or stream.time_base or 0  # frames flushed after an error have none of their own, and time NaN
            now = time + spacing if frame.pts is None or not time_base else float(frame.pts * time_base)
            # What comes out after damage is good as far as it follows on: decoder threads may have passed the damaged frame.
            if frame.is_corrupt or (damage is not None and count and now - time > 1.5 * spacing):
                if not count:
                    continue
                raise DamagedError(f"truncated or damaged after frame {count}") from damage
            count, begin, time = count + 1, begin if count else now, now
            yield time, float((frame.duration or 0) * time_base) or spacing, frame
    if not count:
        raise DamagedError("the video has no frames that can be decoded") from damage
    missing = declared - (time - begin + spacing)
    if damage is not None or missing > max(3 * spacing, 0.05 * declared):
        raise DamagedError(f"truncated or damaged after frame {count}") from damage


def _next_frames(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> tuple[list[av.VideoFrame], Exception | None] | None:
    """The frames that the next packet completes; if it is damaged, those that the decoder still holds, and the error. None at the end."""
    import av

    try:
        packet = next(packets, None)
        return None if packet is None else (packet.decode(), None)
    except av.error.FFmpegError as error:
        try:
            return stream.decode(None), error
        except av.error.FFmpegError:
            return [], error


def _rate(stream: VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or Fraction(25)


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


def _upright(decoded: av.VideoFrame, frame: Frame) -> Frame:
    """Turn and mirror a frame [h, w, c] as its display matrix says."""
    turned, mirrored, flipped = _orientation(decoded)
    if turned:
        frame = frame.swapaxes(0, 1)
    return np.ascontiguousarray(frame[:: -1 if flipped else 1, :: -1 if mirrored else 1])


def _orientation(decoded: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Whether to swap rows and columns and, after that, to reverse columns and to reverse rows.

    The display matrix takes (x, y) to (a x + c y, b x + d y); angles between quarter turns go to the nearest.
    """
    try:
        side_data = decoded.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18.1 fails on side data it has no name for, here the EXIF of Motion JPEG (PyAV-Org/PyAV#2392); the angle it still gives.
        quarters = round(decoded.rotation / 90) % 4
        return quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2)
    if side_data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(cast("Buffer", side_data)), np.int32)[:5].tolist()
    turned = abs(a) < abs(b)
    return turned, (c if turned else a) < 0, (b if turned else d) < 0
