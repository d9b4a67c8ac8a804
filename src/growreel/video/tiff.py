"""TIFF stacks of microscopes and scientific cameras: what their axes mean, and more than eight bits (by tifffile).

Plain TIFF pictures and stacks of 8 bits are left to Pillow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.video.archives import MediaFile
from growreel.video.depth import bits_for, note_of, to_8_bits
from growreel.video.media import Colors, DamagedError, Findings, Frame, Shown, StillPicture
from growreel.video.pixels import colored

if TYPE_CHECKING:
    from tifffile import TiffFile

PICTURE_AXES = "YXS"  # rows, columns, samples of a colour
TIME_AXES = "TZIQR"  # time, else depth, else whatever counts pages


@dataclass(frozen=True)
class Stack:
    """One stack of pictures in a TIFF file.

    Attributes:
        axes, shape: as tifffile names them, e.g. TCYX (8, 2, 16, 24).
        offset: where its pixels begin if they lie in one piece, else None.
        pages: of the file, in the order of the axes before the picture's own.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None
    pages: tuple[Any, ...]

    @property
    def leading(self) -> dict[str, int]:
        """Axes that are not the picture's own and have more than one place, with their lengths."""
        return {axis: n for axis, n in zip(self.axes, self.shape, strict=True) if axis not in PICTURE_AXES and n > 1}

    @property
    def picture_shape(self) -> tuple[int, ...]:
        return tuple(n for axis, n in zip(self.axes, self.shape, strict=True) if axis in PICTURE_AXES)


@contextmanager
def open_stack(file: MediaFile) -> Iterator[tuple[TiffFile, Stack, BinaryIO] | None]:
    """The stack of a file that needs more than Pillow: axes with names, or 16 bits in several pages; None for other TIFF files.

    Raises DamagedError if the file cannot be understood.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with file.opened() as stream:
        try:
            opened = tifffile.TiffFile(stream, name=file.name)
            stack = _stack_of(opened)
            plain = not (opened.is_ome or opened.is_imagej or opened.is_stk or opened.is_lsm)
        except GrowreelError:
            raise
        except Exception as error:
            raise DamagedError(f"{file}: cannot be decoded ({error})") from error
        many = bool(stack.leading)
        yield (opened, stack, stream) if many and (not plain or stack.dtype.itemsize > 1) else None


def _stack_of(opened: TiffFile) -> Stack:
    series = max(opened.series, key=lambda each: math.prod(each.shape[:-2])) if len(opened.series) > 1 else opened.series[0]
    dtype = np.dtype(series.dtype).newbyteorder(opened.byteorder)
    stack = Stack(series.axes, tuple(series.shape), dtype, series.dataoffset, tuple(series.pages))
    meta = opened.imagej_metadata or {}
    count = int(meta.get("images", 1))
    first = opened.pages[0]
    if count > 1 and len(opened.pages) == 1 and not stack.leading and first.is_contiguous:
        # ImageJ writes stacks of more than 4 GB as one page, and the others behind it without a word from TIFF itself.
        named = {"T": int(meta.get("frames", 1)), "Z": int(meta.get("slices", 1)), "C": int(meta.get("channels", 1))}
        if math.prod(named.values()) != count:
            named = {"T": count}
        offset = int(first.dataoffsets[0])
        return Stack("".join(named) + stack.axes, (*named.values(), *stack.shape), dtype, offset, ())
    return stack


def stack_frames(
    opened: TiffFile, stack: Stack, stream: BinaryIO, file: MediaFile, colors: Colors, channel: int | None, findings: Findings
) -> Iterator[Shown]:
    """Yield the pictures along the axis of time, 16 bits brought to 8 as `depth` says.

    Raises:
        GrowreelError: if its axes or its pixels have more than one reading, naming them.
        DamagedError: if no picture can be decoded.
    """
    findings.timeless = True
    plan = _numbers(stack, file, channel)
    bits = 8
    if stack.dtype.itemsize == 2:
        first_pass = _values(opened, stack, stream, plan, file, Findings(alive=findings.alive))
        bits = bits_for(max(int(values.max()) for values in first_pass))
        findings.note(note_of(bits))
    for number, values in enumerate(_values(opened, stack, stream, plan, file, findings)):
        pixels = to_8_bits(values, bits) if stack.dtype.itemsize == 2 else values.astype(np.uint8, copy=False)
        yield Shown(float(number), 1.0, StillPicture(_colored(pixels, stack, colors, file)))


def _numbers(stack: Stack, file: MediaFile, channel: int | None) -> list[int]:
    """Numbers of the pictures to show, in order, among all of the stack's."""
    leading = stack.leading
    named = f"its axes are {stack.axes}, {'x'.join(map(str, stack.shape))}"
    if stack.dtype.kind != "u" or stack.dtype.itemsize > 2:
        raise GrowreelError(f"{file}: its pixels are {stack.dtype.name}, which has no known range; save it with 8 or 16 bits")
    channels = leading.pop("C", 1)
    if channels > 1 and channel is None:
        raise GrowreelError(f"{file}: {channels} channels, and {named}; choose one: --channel 0 to {channels - 1}")
    if channels > 1 and not 0 <= (channel or 0) < channels:
        raise GrowreelError(f"{file}: --channel {channel}: {named}; use 0 to {channels - 1}")
    if len(leading) != 1 or next(iter(leading)) not in TIME_AXES:
        raise GrowreelError(f"{file}: {named}, so it is not one row of pictures in time; save one plane or one position of it")
    time = next(iter(leading))
    before = [(axis, n) for axis, n in zip(stack.axes, stack.shape, strict=True) if axis not in PICTURE_AXES]
    numbers = []
    for step in range(leading[time]):
        number = 0
        for axis, n in before:
            number = number * n + (step if axis == time else channel or 0 if axis == "C" and n > 1 else 0)
        numbers.append(number)
    return numbers


def _values(
    opened: TiffFile, stack: Stack, stream: BinaryIO, numbers: list[int], file: MediaFile, findings: Findings
) -> Iterator[NDArray[Any]]:
    """Yield pictures [h, w] or [h, w, samples] as the file has them; damage ends them."""
    shape = stack.picture_shape
    size = math.prod(shape) * stack.dtype.itemsize
    axes = [axis for axis in stack.axes if axis in PICTURE_AXES]
    for count, number in enumerate(numbers):
        findings.alive()
        try:
            if stack.offset is not None:
                stream.seek(stack.offset + number * size)
                data = stream.read(size)
                if len(data) < size:
                    raise EOFError("it ends too early")
                values = np.frombuffer(data, stack.dtype).reshape(shape)
            else:
                values = _page(stack.pages[number], file).reshape(shape)
        except Exception as error:
            if isinstance(error, GrowreelError):
                raise
            if not count:
                raise DamagedError(f"{file}: cannot be decoded ({error})") from error
            findings.damage(f"truncated or damaged after frame {count}")
            return
        yield np.moveaxis(values, axes.index("S"), -1) if "S" in axes else values


def _page(page: Any, file: MediaFile) -> NDArray[Any]:
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    # A compression that tifffile leaves to another library; Pillow has the usual ones.
    from PIL import Image

    with file.opened() as stream, Image.open(stream, formats=["TIFF"]) as image:
        image.seek(page.index)
        values = np.asarray(image)
    if values.dtype.itemsize < page.dtype.itemsize:
        raise GrowreelError(f"{file}: 16-bit colours compressed as {page.compression.name} cannot be read; save it without compression")
    return values


def _colored(pixels: Frame, stack: Stack, colors: Colors, file: MediaFile) -> Frame:
    """A picture [h, w] or [h, w, samples] as [h, w, colors]."""
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        raise GrowreelError(f"{file}: {pixels.shape[2]} samples a pixel (axes {stack.axes}) are not a colour; save it as grey or RGB")
    return colored(pixels, colors)
