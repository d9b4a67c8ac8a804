"""Pictures and animations by Pillow: photos, GIF, WebP, APNG, plain TIFF stacks."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.video.archives import MediaFile
from growreel.video.depth import FULL, to_8_bits
from growreel.video.ffmpeg import deep_values
from growreel.video.media import MAX_PIXELS, Colors, DamagedError, Findings, Frame, Shown, StillPicture

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
ANIMATED_FORMATS = ("PNG", "GIF", "WEBP", "TIFF", "AVIF")  # not MPO, which the JPEG reader makes of a photo with a preview
IMAGE_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"miaf")
HEIC_BRANDS = (b"heic", b"heix", b"mif1")  # single pictures; sequences are left to FFmpeg
ORIENTATION = 0x0112  # EXIF: which side is up; 5 and more lie on their side
BROWSER_DELAY = 0.1  # seconds; what browsers make of an animation frame that asks for 10 ms or less
SHORTEST_DELAY = 0.0105


@contextmanager
def open_image(file: MediaFile) -> Iterator[Image | None]:
    """The file as a Pillow image if it is one of FORMATS. Others are left to FFmpeg (EXR, DPX, motion JPEG) or refused (EPS).

    Raises GrowreelError if it cannot be read, DamagedError if its head is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with file.opened() as stream:
        start = stream.read(12)
        heic = start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS and _reads_heic()
        if _is_video(start) and not heic:
            yield None
            return
        stream.seek(0)
        formats = (*FORMATS, *(["HEIF"] if heic else []), *(["TGA"] if file.suffix == ".tga" else []))  # TGA has no head to know it by
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a long strip is large for a reason
                image = Image.open(stream, formats=formats)
        except UnidentifiedImageError:
            yield None
            return
        except PermissionError as error:
            raise GrowreelError(f"{file}: cannot be read ({error.strerror})") from error
        except Exception as error:
            raise DamagedError(f"{file}: cannot be decoded ({error})") from error
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise GrowreelError(f"{file}: a picture of {image.width}x{image.height}; more than {MAX_PIXELS:,} pixels are not read")
            yield None if image.format == "JPEG" and _is_motion_jpeg(stream) else image


@lru_cache(maxsize=1)
def _reads_heic() -> bool:
    """Whether the extra `heic` is installed; Pillow then knows the format."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_video(start: bytes) -> bool:
    """Whether a file begins as videos do and no image does; Pillow would load all its formats to find out."""
    if start[4:8] == b"ftyp":
        return start[8:12] not in IMAGE_BRANDS
    return start.startswith((b"\x1a\x45\xdf\xa3", b"FLV", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")) or start[8:] == b"AVI "


@contextmanager
def _decoding(file: MediaFile) -> Iterator[None]:
    """What Pillow raises for a damaged file depends on the format and on the damage."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (GrowreelError, EOFError):
        raise
    except Exception as error:
        raise DamagedError(f"{file}: cannot be decoded ({error})") from error


def is_animated(image: Image, file: MediaFile) -> bool:
    """Whether its frames follow one another in time. Raises DamagedError for a GIF that is cut off before its second frame."""
    with _decoding(file):
        if image.format == "GIF" and not _gif_is_whole(file):
            image.load()
            return True
        return image.format in ANIMATED_FORMATS and bool(getattr(image, "is_animated", False))


def _gif_is_whole(file: MediaFile) -> bool:
    """Whether a GIF has the byte that ends one; some programs pad it with zeros."""
    with file.opened() as stream:
        stream.seek(max(0, stream.seek(0, 2) - 512))
        return stream.read().rstrip(b"\0").endswith(b";")


def upright_size(image: Image, file: MediaFile) -> tuple[int, int]:
    """Height and width as it is meant to be seen. Raises DamagedError: a PNG has to be decoded to find out."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow has turned it already
        return height, width
    with _decoding(file):
        return (width, height) if image.getexif().get(ORIENTATION, 1) >= 5 else (height, width)


def is_deep(image: Image) -> bool:
    """Whether the pixels of an image that is not loaded yet have 16 bits, of which nothing says how many are used."""
    return _is_deep_grey(image) or _is_deep_color(image)


def brightest(image: Image, file: MediaFile) -> int:
    """The largest value of a deep picture that is not loaded yet; how opaque it is does not count."""
    with _decoding(file):
        if not _is_deep_color(image):
            return int(_deep_values(image).max())
        values = deep_values(file)
        return int(values[..., : values.shape[2] - (values.shape[2] % 2 == 0)].max())


def still(image: Image, file: MediaFile, colors: Colors, bits: int = FULL) -> Frame:
    """The picture upright, uint8 [h, w, colors]. Raises DamagedError, or GrowreelError for pixels of no known range."""
    with _decoding(file):
        if _is_deep_color(image):
            image = _from_deep_colors(deep_values(file), bits, image.getexif().get(ORIENTATION, 1))
        image.load()
        return _pixels(image, colors, bits)


def animation(image: Image, file: MediaFile, colors: Colors, findings: Findings, bits: int = FULL) -> Iterator[Shown]:
    """Yield the frames of an animation. Raises DamagedError if there is none; later damage goes into `findings`."""
    findings.holds, findings.timeless = True, image.format == "TIFF"
    first = 1 if image.info.get("default_image") else 0  # an APNG may begin with a picture for programs that show no animations
    count, time = 0, 0.0
    while True:
        try:
            with _decoding(file):
                image.seek(first + count)
                image.load()
                pixels = _pixels(image, colors, bits)
        except EOFError:
            if not count:
                raise DamagedError(f"{file}: no frame can be decoded") from None
            if image.format == "GIF" and not _gif_is_whole(file):
                findings.damage(f"truncated after frame {count}")
            return
        except DamagedError:
            if not count:
                raise
            findings.damage(f"truncated or damaged after frame {count}")
            return
        duration = float(image.info.get("duration") or 0) / 1000
        duration = duration if duration > SHORTEST_DELAY else BROWSER_DELAY
        yield Shown(time, duration, StillPicture(pixels))
        count, time = count + 1, time + duration


def _is_deep_grey(image: Image) -> bool:
    return image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I")


def _is_deep_color(image: Image) -> bool:
    """Whether Pillow would take the upper 8 bits of 16, as it does where there is more than one sample a pixel."""
    from PIL.ImageFile import ImageFile

    if not isinstance(image, ImageFile) or image.format not in ("PNG", "TIFF") or not image.tile:
        return False
    how: Any = image.tile[0][3]
    return ";16" in str(how if isinstance(how, str) else how[0])


def _deep_values(image: Image) -> NDArray[np.uint16]:
    return np.asarray(image).astype(np.uint16)


def _from_deep_colors(values: NDArray[np.uint16], bits: int, orientation: int) -> Image:
    """A Pillow image of 16-bit samples [h, w, c]; transparency uses all bits, colours `bits` of them."""
    from PIL import Image

    samples = values.shape[2]
    pixels = to_8_bits(values, bits)
    if samples % 2 == 0:
        pixels[..., -1] = to_8_bits(values[..., -1])
    image = Image.fromarray(pixels[..., 0] if samples == 1 else pixels)
    image.getexif()[ORIENTATION] = orientation
    return image


def _pixels(image: Image, colors: Colors, bits: int) -> Frame:
    """A loaded Pillow image upright, as uint8 [h, w, colors], what is transparent on black."""
    from PIL import Image, ImageOps

    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if _is_deep_grey(image):
        image = Image.fromarray(to_8_bits(_deep_values(image), bits))
    elif image.mode in ("I", "F"):
        raise GrowreelError(f"{image.mode}: pictures of 32-bit pixels have no known range; save them with 8 or 16 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    pixels = np.asarray(image.convert("L" if colors == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], colors)


def _is_motion_jpeg(stream: BinaryIO) -> bool:
    """Whether the JPEG is followed by another one of the same size: bare motion JPEG, as cameras and streams give it."""
    try:
        data: mmap.mmap | bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        stream.seek(0)
        data = stream.read()
    size, end = _jpeg_size_and_end(data, 0)
    return size is not None and end < len(data) and _jpeg_size_and_end(data, end)[0] == size


def _jpeg_size_and_end(data: mmap.mmap | bytes, start: int) -> tuple[bytes | None, int]:
    """Bytes that hold height and width, and where the JPEG that begins at `start` ends; None if there is none."""
    if data[start : start + 3] != b"\xff\xd8\xff":
        return None, len(data)
    at, size = start + 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = bytes(data[at + 5 : at + 9])
        if marker == 0xDA:  # the picture itself, in which FF D9 cannot occur
            end = data.find(b"\xff\xd9", at)
            return size, len(data) if end < 0 else end + 2
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None, len(data)
